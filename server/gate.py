"""The one way into every handler: who calls, by when, under which id; and out of it: error, metrics, log, trace.

A handler gets raw bytes and a `Call`, and gives bytes back or raises; it knows nothing of status codes.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from munjang.errors import DeadlineExceeded, MunjangError
from server.call import Call, Rpc
from server.errors import DETAILS_KEY, UNEXPECTED, code_of, public, status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.metrics.calls import CallMetrics
    from server.security.guard import Guard
    from server.tracing import Tracing

    UnaryHandler = Callable[[bytes, Call], Awaitable[bytes]]
    StreamHandler = Callable[[Call], Awaitable[None]]

REQUEST_ID_KEY = "x-request-id"
REQUEST_ID = re.compile(r"[!-~]{1,128}")
NOBODY_WAITS = 30 * 86400.0
"""The seconds of a stream without a deadline: its messages have deadlines of their own."""

log = structlog.get_logger("munjang.server")


class Gate:
    """Wraps handlers for gRPC.

    Args:
        guard: who may call.
        metrics: where calls are counted.
        default_deadline: seconds for a call that brings no deadline.
        slow: calls that take longer are logged.
        log_all: log every call, for debugging.
        tracing: where traces go, or None.
    """

    def __init__(
        self,
        guard: Guard,
        metrics: CallMetrics,
        *,
        default_deadline: float,
        slow: float = 1.0,
        log_all: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        self._guard = guard
        self._metrics = metrics
        self._default_deadline = default_deadline
        self._slow = slow
        self._log_all = log_all
        self._tracing = tracing
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = asyncio.Event()

    async def drained(self) -> None:
        """Ask streams to end, and return when no call is being served."""
        self.draining.set()
        await self._idle.wait()

    def unary(self, rpc: Rpc, handler: UnaryHandler) -> Any:
        """The gRPC handler of a method with one request and one reply."""

        async def serve(raw: bytes, context: Any) -> bytes:
            remaining = time_left(context)
            call = self._open(rpc, context, self._default_deadline if remaining is None else remaining)
            async with _Visit(self, call):
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
            async with _Visit(self, call):
                self._admit(call)
                await handler(call)

        return grpc.stream_stream_rpc_method_handler(serve)

    def visible(self, call: Call, error: Exception) -> MunjangError:
        """What the caller may see of an error; counts it, and logs what the caller may not see."""
        shown = public(error, call.request_id)
        self._metrics.failed(call.rpc.name, shown.reason)
        if shown.reason == UNEXPECTED:
            log.error("internal error", rpc=call.rpc.path, request_id=call.request_id, exc_info=error)
        return shown

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
            spans=None if self._tracing is None else [],
        )

    def _admit(self, call: Call) -> None:
        call.caller = self._guard.admit(call.authorization, call.context, call.rpc.permission)

    def enter(self, call: Call) -> None:
        """A call begins."""
        self._serving += 1
        self._idle.clear()
        self._metrics.in_flight[call.rpc.name].inc()

    def leave(self, call: Call, code: grpc.StatusCode, reason: str) -> None:
        """A call has ended: count it, log it where it is worth it, trace it."""
        self._serving -= 1
        if not self._serving:
            self._idle.set()
        seconds = time.perf_counter() - call.started
        name = call.rpc.name
        self._metrics.in_flight[name].dec()
        self._metrics.requests[name][code].inc()
        self._metrics.seconds[name].observe(seconds)
        if code is not grpc.StatusCode.OK or seconds > self._slow or self._log_all:
            quiet = code is grpc.StatusCode.OK and seconds <= self._slow
            (log.debug if quiet else log.info)(
                "call",
                rpc=call.rpc.path,
                code=code.name,
                reason=reason,
                seconds=round(seconds, 4),
                caller=call.caller.name,
                request_id=call.request_id,
                version=call.version,
                texts=call.texts,
            )
        if self._tracing is not None:
            self._tracing.record(call, code)


class _Visit:
    """One call from its beginning to its end, whatever the end is."""

    __slots__ = ("_call", "_gate")

    def __init__(self, gate: Gate, call: Call) -> None:
        self._gate = gate
        self._call = call

    async def __aenter__(self) -> None:
        self._gate.enter(self._call)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        gate, call = self._gate, self._call
        if error is None:
            gate.leave(call, grpc.StatusCode.OK, "")
        elif isinstance(error, Exception):
            shown = gate.visible(call, error)
            code = code_of(shown)
            gate.leave(call, code, shown.reason)
            details = ((DETAILS_KEY, status_of(shown).SerializeToString()), (REQUEST_ID_KEY, call.request_id))
            await call.context.abort(code, str(shown), details)
        else:
            gate.leave(call, _why_cancelled(call), "")


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


def _why_cancelled(call: Call) -> grpc.StatusCode:
    """A handler is cancelled when its caller has gone, and when the caller's deadline passes."""
    expired = time.monotonic() >= call.deadline
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
