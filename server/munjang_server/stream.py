"""EmbeddingService.EncodeStream: many batches over one call, a bounded number of them in work at a time.

A place in the window is taken before a message is read and given back when its reply has been written, and gRPC's own
flow control lets a write wait until the client reads. So a client that sends much and reads slowly is made to wait, and
the server holds no more than the window.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import grpc

from munjang.errors import MunjangError, ShuttingDown
from munjang.v1 import embedding_service_pb2 as pb2
from munjang_server.batching.contract import Lane
from munjang_server.errors import status_of
from munjang_server.gate import within
from munjang_server.parsing import Parser

if TYPE_CHECKING:
    from munjang.settings import ServerSettings
    from munjang_server.call import Call
    from munjang_server.embedding import Encode, Encoded
    from munjang_server.gate import Gate


class EncodeStream:
    """Serves EncodeStream.

    Args:
        encode: answers each batch, as it does a call of its own.
        gate: decides what a client may see of an error.
        settings: the window, and the deadline of a batch.
    """

    def __init__(self, encode: Encode, gate: Gate, settings: ServerSettings) -> None:
        self._encode = encode
        self._gate = gate
        self._settings = settings
        self._parser = Parser(pb2.EncodeStreamRequest, settings.max_message_bytes, root="request")

    async def __call__(self, call: Call) -> None:
        """Answer one stream until the client ends it.

        Raises:
            ShuttingDown: the server drains; every batch that was read has been answered.
        """
        window = asyncio.Semaphore(self._settings.stream_window)
        writing = asyncio.Lock()
        with _Reader(call.context, self._gate.draining) as reader:
            async with asyncio.TaskGroup() as batches:
                while True:
                    await window.acquire()
                    raw = await reader.next()
                    if raw is None:
                        break
                    batches.create_task(self._one(raw, call, window, writing))
        if reader.stopped:
            msg = "the server is shutting down; batches without a reply were not read"
            raise ShuttingDown(msg)

    async def _one(self, raw: bytes, call: Call, window: asyncio.Semaphore, writing: asyncio.Lock) -> None:
        try:
            reply = await self._reply(raw, call)
            async with writing:
                await _write(call.context, reply)
        finally:
            window.release()

    async def _reply(self, raw: bytes, call: Call) -> bytes:
        now = time.monotonic()
        seconds = min(self._settings.default_deadline_seconds, call.deadline - now)
        message = call.message(now + seconds, time.perf_counter())
        name = ""
        try:
            request, faults = self._parser.salvage(raw)
            name = request.id
            work = self._encode.answer(request.request, faults, message, Lane.BULK, partial(_serialize, name))
            return await within(seconds, work)
        except Exception as error:  # noqa: BLE001 - an error belongs to its message and does not end the stream
            shown = self._gate.visits.visible(message, error)
            return self._failure(name or self._id_of(raw), shown)
        finally:
            call.texts += message.texts
            call.version = message.version or call.version
            if call.spans is not None and message.spans is not None:
                call.spans.extend(message.spans)

    def _id_of(self, raw: bytes) -> str:
        """The id of a message that does not parse, if it can be found."""
        loose: Any = self._parser.loose(raw) if len(raw) <= self._settings.max_message_bytes else None
        return "" if loose is None else loose.id.decode(errors="replace")

    @staticmethod
    def _failure(name: str, error: MunjangError) -> bytes:
        return pb2.EncodeStreamResponse(id=name, error=status_of(error)).SerializeToString()


async def _write(context: Any, reply: bytes) -> None:
    """Write a reply. Where that fails the client has gone, and the call is about to be cancelled."""
    try:
        await context.write(reply)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


class _Reader:
    """Reads messages until the client ends or the server drains; a context manager.

    Attributes:
        stopped: whether it was the server that ended.
    """

    def __init__(self, context: Any, draining: asyncio.Event) -> None:
        self._context = context
        self._stop = asyncio.ensure_future(draining.wait())
        self.stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.cancel()

    async def next(self) -> bytes | None:
        """The next message, or None at the end."""
        read = asyncio.ensure_future(self._context.read())
        read.add_done_callback(_look_at)
        await asyncio.wait({read, self._stop}, return_when=asyncio.FIRST_COMPLETED)
        if not read.done():
            self.stopped = True
            return None
        message: bytes = read.result()
        return None if message is grpc.aio.EOF else message  # type: ignore[attr-defined]  # stubs of an older grpc


def _look_at(read: asyncio.Future[bytes]) -> None:
    """Let a read that nobody waits for any more end in silence; it ends with its call."""
    if not read.cancelled():
        read.exception()


def _serialize(name: str, result: Encoded) -> bytes:
    reply = pb2.EncodeStreamResponse(id=name)
    result.fill(reply.response)
    return reply.SerializeToString()
