"""Closes drained versions on a thread of its own: who gives back a last lease, an event loop perhaps, must not wait."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from munjang.engine import memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.engine.resident import Resident

_log = logging.getLogger(__name__)


class Closer:
    """Its thread begins with the first version to close. Every method may be called from any thread.

    Args:
        closed: called with each version once its memory has been given back.
    """

    def __init__(self, closed: Callable[[int], None]) -> None:
        self._closed = closed
        self._thread = ThreadPoolExecutor(1, "munjang-engine-closer")

    def take(self, resident: Resident) -> None:
        """Close it soon; at once where this closer has ended, since nothing is served any more then."""
        try:
            self._thread.submit(self._close, resident)
        except RuntimeError:
            self._close(resident)

    def wait(self) -> None:
        """Return when what was taken so far is closed."""
        with contextlib.suppress(RuntimeError):  # it has ended, and so waited already
            self._thread.submit(int).result()

    def end(self) -> None:
        """Close what was taken, and end the thread."""
        self._thread.shutdown()

    def _close(self, resident: Resident) -> None:
        try:
            resident.encoder.close()
            memory.give_back()
        except Exception:  # noqa: BLE001 - whatever it is, the next one is closed too
            _log.exception("version %d could not be closed", resident.version)
        self._closed(resident.version)
