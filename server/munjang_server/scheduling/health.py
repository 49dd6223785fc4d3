"""The state of the engine as far as it is known, and how runner threads tell the event loop what happened."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from munjang.errors import EncodeFailed, EngineUnavailable, InternalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from munjang_server.scheduling.api import Observer, OnHealth
    from munjang_server.scheduling.request import Batch, PendingRequests, Request

_log = logging.getLogger(__name__)


class Health:
    """Whether a forward is stuck and which versions fail; notifies a listener. For the event loop alone.

    The engine is unhealthy while a forward is stuck, or while the main version fails: the one that "" names, and before
    that is known any. Another version that fails is refused by itself and leaves the engine healthy.

    Attributes:
        still_stuck: whether a forward that was found stuck still runs; the watchdog knows.
    """

    def __init__(self, on_health: OnHealth | None, observer: Observer) -> None:
        self._on_health = on_health
        self._observer = observer
        self._stuck = ""
        self._failing: dict[int, str] = {}
        self._main: int | None = None
        self._told = True
        self.still_stuck: Callable[[], bool] = lambda: False

    @property
    def healthy(self) -> bool:
        """Whether forwards of the main version succeed."""
        return not self._reason()

    @property
    def stuck(self) -> bool:
        """Whether a forward is stuck, or was and none has succeeded since."""
        return bool(self._stuck)

    @property
    def failing(self) -> list[int]:
        """The versions that fail."""
        return list(self._failing)

    def why_not(self, version: int) -> str:
        """Why texts of this version cannot be encoded now; empty if they can."""
        return self._stuck or self._failing.get(version, "")

    def main_is(self, version: int) -> None:
        """This is the main version now."""
        self._main = version
        self._tell()

    def set_stuck(self, reason: str) -> None:
        """A forward is stuck."""
        self._stuck = reason
        self._tell()

    def fails(self, version: int, reason: str) -> None:
        """Forwards of this version fail."""
        self._failing[version] = reason
        self._tell()

    def works(self, version: int) -> None:
        """A probe of this version succeeded; so no forward is stuck either, unless one still is that it ran beside."""
        if not self.still_stuck():
            self._stuck = ""
        self.forget(version)

    def forget(self, version: int) -> None:
        """Forwards of this version do not fail any more, or the version is gone."""
        self._failing.pop(version, None)
        self._tell()

    def _reason(self) -> str:
        if self._stuck or self._main is None:
            return self._stuck or next(iter(self._failing.values()), "")
        return self._failing.get(self._main, "")

    def _tell(self) -> None:
        healthy, reason = self.healthy, self._reason()
        if healthy == self._told:
            return
        self._told = healthy
        if healthy:
            _log.info("the engine works again")
        else:
            _log.error("the engine does not work: %s", reason)
        self._observer.health(healthy)
        if self._on_health is not None:
            try:
                self._on_health(healthy, reason)
            except Exception:  # noqa: BLE001 - the listener is not ours, and the watchdog must go on
                _log.exception("the listener for the engine's health failed")


class LoopNotifier:
    """Posts what runner threads found to the event loop. Its methods may be called from any thread and return at once.

    Args:
        retry_after: the `retry_after` of errors while the engine does not work, seconds.
        health: follows what is found.
    """

    def __init__(self, retry_after: float, health: Health) -> None:
        self._retry_after = retry_after
        self._health = health
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: PendingRequests
        self._on_probe: Callable[[int], None]

    def open(self, loop: asyncio.AbstractEventLoop, pending: PendingRequests, on_probe: Callable[[int], None]) -> None:
        """Post to this loop from now on; `on_probe` is called with a version whose probe has ended."""
        self._loop, self._pending, self._on_probe = loop, pending, on_probe

    def settle(self, batch: Batch, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        """Deliver the rows of a batch."""
        self._post(lambda: self._pending.settle(batch, rows, started, seconds))

    def fail_texts(self, batch: Batch, message: str, started: float, seconds: float) -> None:
        """The texts of this batch cannot be encoded."""

        def error(index: int) -> EncodeFailed:
            return EncodeFailed(message, field="texts", index=index)

        self._post(lambda: self._pending.fail_texts(batch, error, started, seconds))

    def expire(self, requests: list[tuple[Request, int]]) -> None:
        """These requests were found past their deadline."""
        self._post(lambda: self._pending.expire(requests))

    def engine_failed(self, version: int, reason: str) -> None:
        """Forwards of this version fail: refuse its texts, and fail those that are admitted."""

        def tell() -> None:
            self._health.fails(version, reason)
            self._pending.fail(lambda: self.unavailable(reason), lambda request: request.version == version)

        self._post(tell)

    def engine_works(self, version: int) -> None:
        """A probe of this version succeeded."""
        self._post(lambda: self._health.works(version))

    def engine_stuck(self, reason: str) -> None:
        """A forward is stuck: fail every request."""

        def tell() -> None:
            self._health.set_stuck(reason)
            self._pending.fail(lambda: self.unavailable(reason))

        self._post(tell)

    def probe_ended(self, version: int) -> None:
        """A probe was run or lost."""
        self._post(lambda: self._on_probe(version))

    def defect_in_batch(self, batch: Batch) -> None:
        """A defect of munjang: the requests of this batch cannot be answered."""
        hit = {part.request for part in batch.parts}
        self._post(lambda: self._pending.fail(_internal, hit.__contains__))

    def defect_in_queue(self, number: int) -> None:
        """A defect of munjang: the requests in this queue cannot be answered."""
        self._post(lambda: self._pending.fail(_internal, lambda request: request.queue == number))

    def unavailable(self, reason: str) -> EngineUnavailable:
        """The error of a request while the engine does not work."""
        return EngineUnavailable(f"the engine is not available: {reason}", retry_after=self._retry_after)

    def _post(self, tell: Callable[[], None]) -> None:
        """Run it on the event loop. After the loop is closed, no caller waits for answers."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # closed meanwhile
            if not loop.is_closed():
                raise


_internal = functools.partial(InternalError, "a defect of the server; its log has the details")
