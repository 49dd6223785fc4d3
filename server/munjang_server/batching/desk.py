"""The way back from the engine's threads: every outcome is posted to the event loop, one post a batch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from munjang.errors import EncodeFailed, EngineUnavailable, InternalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from munjang_server.batching.answers import Answers
    from munjang_server.batching.forward import Outcome
    from munjang_server.batching.health import Health
    from munjang_server.batching.queue import Queue
    from munjang_server.batching.request import Batch, Request
    from munjang_server.batching.watchdog import Watchdog


class Desk:
    """Implements what `trial` and `runner` want to tell. Its methods may be called from any thread and return at once.

    Args:
        retry_after: what callers are told while the engine does not work, seconds.
    """

    def __init__(self, retry_after: float) -> None:
        self._retry_after = retry_after
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answers: Answers
        self._health: Health
        self._watchdog: Watchdog

    def open(self, loop: asyncio.AbstractEventLoop, answers: Answers, health: Health, watchdog: Watchdog) -> None:
        """Pass on to these from now on."""
        self._loop, self._answers, self._health, self._watchdog = loop, answers, health, watchdog

    def settle(self, batch: Batch, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        """Hand out the rows of a batch."""
        self._post(lambda: self._answers.settle(batch, rows, started, seconds))

    def blame(self, batch: Batch, message: str, outcome: Outcome) -> None:
        """The texts of this batch cannot be encoded."""

        def error(index: int) -> EncodeFailed:
            return EncodeFailed(message, field="texts", index=index)

        self._post(lambda: self._answers.blame(batch, error, outcome.started, outcome.seconds))

    def expire(self, requests: list[tuple[Request, int]]) -> None:
        """These requests were found past their deadline."""
        self._post(lambda: self._answers.expire(requests))

    def engine_failed(self, version: int, reason: str) -> None:
        """Forwards of this version fail: refuse its texts, and fail those that are admitted."""

        def tell() -> None:
            self._health.fails(version, reason)
            self._answers.fail(lambda: self.unavailable(reason), lambda request: request.version == version)

        self._post(tell)

    def engine_works(self, version: int) -> None:
        """A probe of this version succeeded, so no forward is stuck either, unless one still is that it ran beside."""

        def tell() -> None:
            if not self._watchdog.stuck:
                self._health.set_stuck("")
            self._health.works(version)

        self._post(tell)

    def engine_stuck(self, reason: str) -> None:
        """A forward does not come back: answer everybody."""

        def tell() -> None:
            self._health.set_stuck(reason)
            self._answers.fail(lambda: self.unavailable(reason))

        self._post(tell)

    def probe_ended(self, version: int) -> None:
        """A probe was run or lost."""
        self._post(lambda: self._watchdog.probed(version))

    def defect_in_batch(self, batch: Batch) -> None:
        """The requests of this batch cannot be answered."""
        hit = {part.request for part in batch.parts}
        self._post(lambda: self._answers.fail(_internal, hit.__contains__))

    def defect_in_queue(self, queue: Queue) -> None:
        """The requests in this queue cannot be answered."""
        self._post(lambda: self._answers.fail(_internal, lambda request: request.home is queue))

    def unavailable(self, reason: str) -> EngineUnavailable:
        """The error of a request while the engine does not work."""
        return EngineUnavailable(f"the engine is not available: {reason}", retry_after=self._retry_after)

    def _post(self, tell: Callable[[], None]) -> None:
        """Run it on the event loop. After the loop is closed nobody waits for answers any more."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # closed meanwhile
            if not loop.is_closed():
                raise


_internal = functools.partial(InternalError, "a defect of the server; its log has the details")
