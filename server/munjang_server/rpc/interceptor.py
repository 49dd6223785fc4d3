"""From gRPC to handlers and back: reads metadata and deadline, and turns an error into gRPC's status.

A handler gets raw bytes and a `Call`, and returns bytes or raises an error; `calls` does what every door needs.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from munjang_server.rpc.calls import Call, Door, Rpc, within
from munjang_server.rpc.errors import DETAILS_KEY, REQUEST_ID_KEY, code_of, status_of
from munjang_server.security.authentication import peer_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from munjang_server.rpc.calls import Calls

    UnaryHandler = Callable[[bytes, Call], Awaitable[bytes]]
    StreamHandler = Callable[[Call], Awaitable[None]]

STREAM_SECONDS = 30 * 86400.0
"""The deadline of a stream without one: its messages have deadlines of their own."""


class Interceptor:
    """Wraps handlers for gRPC.

    Args:
        calls: begins and ends calls.
        default_deadline: seconds for a call without a deadline.
    """

    def __init__(self, calls: Calls, default_deadline: float) -> None:
        self._calls = calls
        self._default_deadline = default_deadline

    def unary(self, rpc: Rpc, handler: UnaryHandler) -> Any:
        """The gRPC handler of a method with one request and one reply."""

        async def serve(raw: bytes, context: Any) -> bytes:
            remaining = time_left(context)
            call = self._begin(rpc, context, self._default_deadline if remaining is None else remaining)
            try:
                self._calls.authenticate(call, partial(peer_name, context))
                if remaining is None:
                    reply = await within(self._default_deadline, handler(raw, call))
                else:
                    reply = await handler(raw, call)
            except BaseException as error:  # noqa: BLE001 - `_abort` raises, also for a cancelled call
                await self._abort(call, error)
            self._calls.end(call)
            return reply

        return grpc.unary_unary_rpc_method_handler(serve)

    def stream(self, rpc: Rpc, handler: StreamHandler) -> Any:
        """The gRPC handler of a method with streams both ways; the handler reads and writes `call.context`."""

        async def serve(_: object, context: Any) -> None:
            remaining = time_left(context)
            call = self._begin(rpc, context, STREAM_SECONDS if remaining is None else remaining)
            try:
                self._calls.authenticate(call, partial(peer_name, context))
                await handler(call)
            except BaseException as error:  # noqa: BLE001 - `_abort` raises, also for a cancelled call
                await self._abort(call, error)
            self._calls.end(call)

        return grpc.stream_stream_rpc_method_handler(serve)

    def _begin(self, rpc: Rpc, context: Any, seconds: float) -> Call:
        started = time.perf_counter()
        request_id = traceparent = authorization = ""
        for key, value in context.invocation_metadata():
            if key == "authorization":
                authorization = value
            elif key == REQUEST_ID_KEY:
                request_id = value
            elif key == "traceparent":
                traceparent = value
        deadline = time.monotonic() + seconds
        call = Call(rpc, Door.GRPC, request_id, deadline, started, authorization, traceparent, context)
        self._calls.begin(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        return call

    async def _abort(self, call: Call, error: BaseException) -> NoReturn:
        """End a call that failed or was cancelled: raises what gRPC should see."""
        if not isinstance(error, Exception):
            self._calls.cancel(call)  # a handler is cancelled when its caller has gone, and when its deadline passes
            raise error
        shown = self._calls.fail(call, error)
        details = ((DETAILS_KEY, status_of(shown).SerializeToString()), (REQUEST_ID_KEY, call.request_id))
        await call.context.abort(code_of(shown), str(shown), details)
        raise error  # not reached: `abort` raises, but its type does not say so


def time_left(context: Any) -> float | None:
    """The seconds that a call has left, or None if that is unknown: it has no deadline, or the clock jumped.

    gRPC holds a deadline as a time of day, so when the clock is set ahead between the arrival of a call and its
    handler, the call seems to be over. gRPC itself cancels calls that are really over, by a clock that does not jump.
    """
    return context.time_remaining() or None
