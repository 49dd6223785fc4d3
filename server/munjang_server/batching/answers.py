"""The admitted requests and their answers. For the event loop alone: the engine's threads post to it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from munjang.errors import DeadlineExceeded, InternalError, MunjangError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from munjang_server.batching.contract import Encoded
    from munjang_server.batching.inbox import Inbox
    from munjang_server.batching.observer import Observer
    from munjang_server.batching.request import Batch, Part, Request

_log = logging.getLogger(__name__)


class Answers:
    """Every request that was admitted and has no answer yet. Each gets exactly one."""

    def __init__(self, inbox: Inbox, observer: Observer) -> None:
        self._inbox = inbox
        self._observer = observer
        self._live: set[Request] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, request: Request) -> None:
        """Await an answer for this request from now on."""
        self._live.add(request)
        self._idle.clear()

    async def all_given(self) -> None:
        """Return when no request is without an answer."""
        await self._idle.wait()

    def settle(self, batch: Batch, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        """Hand out float32 [texts, D] of a forward that began at `started` and took `seconds`."""
        begin = dead = 0
        for part in batch.parts:
            end = begin + len(part.indices)
            if part.request.ended:
                dead += part.tokens
            else:
                self._fill(part, rows[begin:end], started, seconds)
            begin = end
        if dead:
            self._observer.dead(batch.version, dead)

    def _fill(self, part: Part, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        try:
            if part.request.fill(part.indices, rows, started, seconds):
                self._inbox.learn(part.request, time.monotonic())
                self._end(part.request, part.request.answer(rows.shape[1]))
        except Exception:  # noqa: BLE001 - whatever is wrong with one answer, the others must be given
            _log.exception("an answer could not be put together")
            self._end(part.request, InternalError("the vectors could not be put together"))

    def blame(self, batch: Batch, error: Callable[[int], MunjangError], started: float, seconds: float) -> None:
        """Give each text of a batch an error of its own, made from its index."""
        for part in batch.parts:
            if part.request.ended:
                continue
            dimensions = part.request.work.lease.encoder.info.dimensions
            for index in part.indices:
                if part.request.blame(index, error(index), started, seconds):
                    self._end(part.request, part.request.answer(dimensions))

    def fail(self, error: Callable[[], MunjangError], which: Callable[[Request], bool] = lambda _: True) -> None:
        """End requests with an error each."""
        for request in [request for request in self._live if which(request)]:
            failure = error()
            texts = self._inbox.drop(request)
            if texts:
                self._observer.dropped(failure.reason, request.work.lane, texts)
            self._end(request, failure)

    def expire(self, requests: Iterable[tuple[Request, int]]) -> None:
        """End requests that were taken out of the queue because of their deadline, with how many texts were waiting."""
        for request, texts in requests:
            self._observer.dropped("expired", request.work.lane, texts)
            self._expire(request)

    def expire_now(self, request: Request) -> None:
        """End a request whose deadline is now, wherever its texts are."""
        if not request.ended:
            texts = self._inbox.drop(request)
            if texts:
                self._observer.dropped("expired", request.work.lane, texts)
            self._expire(request)

    def _expire(self, request: Request) -> None:
        if not request.ended:
            self._inbox.learn(request, time.monotonic())
            self._end(request, expired())

    def leave(self, request: Request) -> None:
        """The caller has gone."""
        texts = self._inbox.drop(request)
        if texts:
            self._observer.dropped("cancelled", request.work.lane, texts)
        self._forget(request)

    def _end(self, request: Request, outcome: Encoded | MunjangError) -> None:
        self._forget(request)
        if request.future.done():
            return
        if isinstance(outcome, MunjangError):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)

    def _forget(self, request: Request) -> None:
        request.ended = True
        self._live.discard(request)
        if not self._live:
            self._idle.set()


def expired() -> DeadlineExceeded:
    """The error of a request whose deadline passed."""
    return DeadlineExceeded("the deadline passed before the texts were encoded")
