"""The one way into every handler: who calls, by when, under which id. The way out is in `visits`.

A handler gets raw bytes and a `Call`, and gives bytes back or raises; it knows nothing of status codes.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING, Any

import grpc

from munjang.errors import DeadlineExceeded
from munjang_server.call import Call, Rpc
from munjang_server.errors import REQUEST_ID_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from munjang_server.security.guard import Guard
    from munjang_server.visits import Visits

    UnaryHandler = Callable[[bytes, Call], Awaitable[bytes]]
    StreamHandler = Callable[[Call], Awaitable[None]]

REQUEST_ID = re.compile(r"[!-~]{1,128}")
NOBODY_WAITS = 30 * 86400.0
"""The seconds of a stream without a deadline: its messages have deadlines of their own."""


class Gate:
    """Wraps handlers for gRPC.

    Args:
        guard: who may call.
        visits: where the calls that are being served are counted.
        default_deadline: seconds for a call that brings no deadline.

    Attributes:
        visits: the same.
        draining: set when streams shall end.
    """

    def __init__(self, guard: Guard, visits: Visits, *, default_deadline: float) -> None:
        self._guard = guard
        self.visits = visits
        self._default_deadline = default_deadline
        self.draining = asyncio.Event()

    async def drained(self) -> None:
        """Ask streams to end, and return when no call is being served."""
        self.draining.set()
        await self.visits.all_ended()

    def unary(self, rpc: Rpc, handler: UnaryHandler) -> Any:
        """The gRPC handler of a method with one request and one reply."""

        async def serve(raw: bytes, context: Any) -> bytes:
            remaining = time_left(context)
            call = self._open(rpc, context, self._default_deadline if remaining is None else remaining)
            async with self.visits.of(call):
                self._admit(call)
                if remaining is None:
                    return await within(self._default_deadline, handler(raw, call))
                return await handler(raw, call)

        return grpc.unary_unary_rpc_method_handler(serve)

    def stream(self, rpc: Rpc, handler: StreamHandler) -> Any:
        """The gRPC handler of a method with streams both ways; the handler reads and writes `call.context`."""

        async def serve(_: object, context: Any) -> None:
            remaining = time_left(context)
            call = self._open(rpc, context, NOBODY_WAITS if remaining is None else remaining)
            async with self.visits.of(call):
                self._admit(call)
                await handler(call)

        return grpc.stream_stream_rpc_method_handler(serve)

    def _open(self, rpc: Rpc, context: Any, seconds: float) -> Call:
        started = time.perf_counter()
        request_id = traceparent = authorization = ""
        for key, value in context.invocation_metadata():
            if key == "authorization":
                authorization = value
            elif key == REQUEST_ID_KEY and REQUEST_ID.fullmatch(value):
                request_id = value
            elif key == "traceparent":
                traceparent = value
        request_id = request_id or f"{random.getrandbits(64):016x}"
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        return Call(
            rpc=rpc,
            context=context,
            request_id=request_id,
            authorization=authorization,
            deadline=time.monotonic() + seconds,
            started=started,
            traceparent=traceparent,
            spans=[] if self.visits.traced else None,
        )

    def _admit(self, call: Call) -> None:
        call.caller = self._guard.admit(call.authorization, call.context, call.rpc.permission)


def time_left(context: Any) -> float | None:
    """The seconds that a call has left, or None where that cannot be told: it brought no deadline, or the clock jumped.

    gRPC holds a deadline as a time of day, so when the clock is set ahead between the arrival of a call and its
    handler, the call seems to be over. One that is over indeed, gRPC cancels by itself, by a clock that does not jump.
    """
    return context.time_remaining() or None


async def within(seconds: float, work: Awaitable[bytes]) -> bytes:
    """Await with a limit of our own, for calls that brought none.

    Raises:
        DeadlineExceeded: the limit passed.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        msg = f"the call took longer than the {seconds:g} seconds that this server gives to calls without a deadline"
        raise DeadlineExceeded(msg) from error
