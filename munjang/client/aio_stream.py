"""A stream on an event loop: one task feeds, one writes, one reads.

`StreamState` stays on the loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc

from munjang.client.failures import from_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence

    from munjang.client.results import StreamBatch
    from munjang.client.stream import StreamState
    from munjang.errors import MunjangError


_EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the type stubs lack it

_MASKED = "Internal error from Core"
"""What grpc.aio puts in place of the server's status where a write meets a call that has just ended."""


class AioStream:
    """One use of `AsyncClient.encode_stream`."""

    def __init__(
        self, state: StreamState, source: AsyncIterable[tuple[Any, Sequence[str]]], open_call: Callable[[], Any]
    ) -> None:
        """Open nothing yet; `open_call` returns grpc's call."""
        self._state = state
        self._source = source
        self._open_call = open_call
        self._changed = asyncio.Event()
        self._finished = False  # the source has

    async def batches(self) -> AsyncIterator[StreamBatch]:
        """The answers, in the order of the source; whatever ends this iterator ends the call and the tasks.

        Raises:
            MunjangError: the stream failed for good, or the server was silent for too long.
        """
        feed, link = asyncio.create_task(self._feed()), asyncio.create_task(self._link())
        try:
            while True:
                if taken := self._state.take():
                    self._changed.set()
                    yield taken
                    continue  # more may have come meanwhile
                if feed.done():
                    feed.result()
                if self._finished and self._state.empty():
                    return
                if link.done():
                    await asyncio.sleep(self._state.broken(link.result()))
                    link = asyncio.create_task(self._link())
                else:
                    await self._change(self._state.silence_left())
        finally:
            feed.cancel()
            link.cancel()
            await asyncio.gather(feed, link, return_exceptions=True)

    async def _feed(self) -> None:
        try:
            async for name, texts in self._source:
                while not self._state.room():
                    await self._change(None)
                self._state.add(name, texts)
                self._changed.set()
        finally:
            self._finished = True
            self._changed.set()

    async def _link(self) -> MunjangError | None:
        """Write and read over one call until it ends; returns why, None where the server ended it without an error."""
        call = self._open_call()
        write = asyncio.create_task(self._write(call))
        try:
            while (reply := await call.read()) is not _EOF:
                self._state.receive(reply)
                self._changed.set()
        except grpc.aio.AioRpcError as error:
            return None if error.details() == _MASKED else from_call(error)
        finally:
            write.cancel()
            call.cancel()
            await asyncio.gather(write, return_exceptions=True)
            self._changed.set()
        return None

    async def _write(self, call: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # `_link` reports how the call ended
            while not (self._finished and self._state.empty()):
                request = self._state.next_request()
                if request is None:
                    await self._change(self._state.until_due())
                else:
                    self._changed.set()  # from now on the server owes an answer
                    await call.write(request)
            await call.done_writing()

    async def _change(self, timeout: float | None) -> None:
        """Return at the next change, or after `timeout` seconds. Callers look again at what they wait for."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()
