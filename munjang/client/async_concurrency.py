"""How AsyncClient waits, calls in parallel and streams, by asyncio. `sync_concurrency` does the same by threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from munjang.client.grpc_errors import from_call
from munjang.client.requests import Chunker
from munjang.client.stream_state import named_batches
from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from munjang.client.results import StreamBatch
    from munjang.client.stream_state import StreamState
    from munjang.errors import MunjangError

AsyncItems = (
    Iterable[str] | Iterable[tuple[Any, Sequence[str]]] | AsyncIterable[str] | AsyncIterable[tuple[Any, Sequence[str]]]
)
"""What can be streamed: texts, or pairs of an id and a list of texts; a plain source is read on the event loop."""

_T = TypeVar("_T")

_EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009 - the type stubs lack it

_MASKED = "Internal error from Core"
"""What grpc.aio puts in place of the server's status where a write meets a call that has just ended."""


class AsyncClosing:
    """Whether a client was closed, and waits that end when it is."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Note that the client was closed."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait; whether the client was closed meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()


class OwnLoop:
    """The event loop that a client belongs to: the one of its first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def is_here(self) -> bool:
        """Whether that loop runs here, or none is chosen yet."""
        return self._loop in {None, asyncio.get_running_loop()}

    def check(self) -> None:
        """Take the running loop as the client's own.

        Raises:
            ConfigurationError: the client belongs to another one.
        """
        if not self.is_here():
            ended = " that has ended" if self._loop and self._loop.is_closed() else ""
            msg = (
                f"this AsyncClient belongs to another event loop{ended}: make one AsyncClient in each loop, inside the "
                "coroutine that asyncio.run() is given, or use Client, which threads and loops may share"
            )
            raise ConfigurationError(msg)
        self._loop = asyncio.get_running_loop()


async def run_all(calls: Sequence[Callable[[], Awaitable[_T]]], limit: int) -> list[_T]:
    """The results of all calls, at most `limit` running at once; the first failure ends the wait."""
    slots = asyncio.Semaphore(limit)

    async def run(call: Callable[[], Awaitable[_T]]) -> _T:
        async with slots:
            return await call()

    tasks = [asyncio.create_task(run(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class AsyncStream:
    """One use of `AsyncClient.encode_stream`: one task reads the source, one writes requests, one reads answers.

    `StreamState` stays on the event loop, so nothing is locked.
    """

    def __init__(self, state: StreamState, items: AsyncItems, batch_size: int, open_call: Callable[..., Any]) -> None:
        """Prepare a stream; `open_call` opens grpc's call."""
        self._state = state
        self._source = _named_batches(items, batch_size)
        self._open_call = open_call
        self._changed = asyncio.Event()
        self._finished = False  # the source has

    async def batches(self) -> AsyncIterator[StreamBatch]:
        """The answers, in the order of the source; whatever ends this iterator ends the call and the tasks.

        Raises:
            MunjangError: the stream failed for good, or the server was silent for too long.
        """
        feed, transfer = asyncio.create_task(self._feed()), asyncio.create_task(self._transfer())
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
                if transfer.done():
                    await asyncio.sleep(self._state.broken(transfer.result()))
                    transfer = asyncio.create_task(self._transfer())
                else:
                    await self._change(self._state.silence_left())
        finally:
            feed.cancel()
            transfer.cancel()
            await asyncio.gather(feed, transfer, return_exceptions=True)

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

    async def _transfer(self) -> MunjangError | None:
        """Write and read over one call until it ends; returns why, None if the server ended it without an error."""
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
        with contextlib.suppress(
            grpc.aio.AioRpcError, asyncio.InvalidStateError
        ):  # `_transfer` reports how the call ended
            while not (self._finished and self._state.empty()):
                request = self._state.next_request()
                if request is None:
                    await self._change(self._state.until_due())
                else:
                    self._changed.set()  # from now on the server owes an answer
                    await call.write(request)
            await call.done_writing()

    async def _change(self, timeout: float | None) -> None:
        """Return at the next change, or after `timeout` seconds. Callers then check what they wait for."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()


async def _named_batches(items: AsyncItems, batch_size: int) -> AsyncIterator[tuple[Any, Sequence[str]]]:
    """`named_batches` of any source, as an asynchronous iterator."""
    if not isinstance(items, AsyncIterable):
        for batch in named_batches(items, batch_size):
            yield batch
        return
    chunker = Chunker(batch_size)
    async for item in items:
        if found := chunker.push(item) if isinstance(item, str) else item:
            yield found
    if rest := chunker.flush():
        yield rest
