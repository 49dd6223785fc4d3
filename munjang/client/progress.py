"""How far a long list is: a line on standard error, or a function of the caller."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress:
    """Counts the texts that are answered, from any thread.

    Args:
        report: True for a line on standard error, False for nothing, or a function that is called with the number of
            texts that are done and that of all of them, by one thread at a time. What it raises ends the call.
        total: the number of texts.
    """

    def __init__(self, report: bool | Callable[[int, int], object], total: int) -> None:
        self._report = (_print_line if report else _ignore) if isinstance(report, bool) else report
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Note that `count` more texts are done."""
        with self._lock:
            self._done += count
            self._report(self._done, self._total)


def _print_line(done: int, total: int) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"\rencoded {done:,} of {total:,} texts" + ("\n" if done == total else ""))
        sys.stderr.flush()


def _ignore(_done: int, _total: int) -> None:
    pass
