"""What surrounds every handler: identity, deadline and request id before it, accounting and the status after it.

A handler gets raw bytes and a `Call`, and returns bytes or raises an error. It knows no status codes.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import structlog

from munjang.errors import DeadlineExceeded, MunjangError
from munjang_server.rpc.errors import DETAILS_KEY, REQUEST_ID_KEY, UNEXPECTED, code_of, public, status_of
from munjang_server.security.authentication import ANONYMOUS, Caller, Permission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from munjang_server.metrics import RequestMetrics
    from munjang_server.security.authentication import Authenticator

    UnaryHandler = Callable[[bytes, "Call"], Awaitable[bytes]]
    StreamHandler = Callable[["Call"], Awaitable[None]]
    Tracer = Callable[["Call", grpc.StatusCode], None]

REQUEST_ID = re.compile(r"[!-~]{1,128}")
STREAM_SECONDS = 30 * 86400.0
"""The deadline of a stream without one: its messages have deadlines of their own."""

log = structlog.get_logger("munjang.server")


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method: where it is, and who may call it."""

    service: str
    name: str
    permission: Permission = Permission.CALL

    @property
    def path(self) -> str:
        """As gRPC writes it: service/method."""
        return f"{self.service}/{self.name}"


@dataclass(slots=True)
class Call:
    """One call, or one message of a stream.

    Attributes:
        rpc: the method.
        context: gRPC's own context, for streams to read and write.
        request_id: as the caller named the call, or generated here.
        deadline: the `time.monotonic()` by which the answer is wanted; every call has one.
        started: `time.perf_counter()` at its start.
        authorization: the caller's credentials, as sent.
        traceparent: the caller's trace, or empty.
        caller: who calls, once authenticated.
        spans: its steps by name, start and end in `time.perf_counter()`; None where calls are not traced.
        version: the version that answered, 0 before it is known.
        space_id: its space, "" before it is known.
        texts: how many texts it has.
    """

    rpc: Rpc
    context: Any
    request_id: str
    deadline: float
    started: float
    authorization: str = field(default="", repr=False)
    traceparent: str = ""
    caller: Caller = ANONYMOUS
    spans: list[tuple[str, float, float]] | None = None
    version: int = 0
    space_id: str = ""
    texts: int = 0

    def message(self, deadline: float) -> Call:
        """One message of this stream, with its own records."""
        spans: list[tuple[str, float, float]] | None = None if self.spans is None else []
        return replace(
            self, deadline=deadline, started=time.perf_counter(), spans=spans, version=0, space_id="", texts=0
        )

    async def write(self, reply: bytes) -> None:
        """Write to a stream. If that fails, the client has gone, and the call is about to be cancelled."""
        try:
            await self.context.write(reply)
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None

    def span(self, step: str, start: float, end: float) -> None:
        """Record a step for the trace."""
        if self.spans is not None:
            self.spans.append((step, start, end))


class Interceptor:
    """Wraps handlers for gRPC.

    Args:
        authenticator: identifies callers.
        metrics: where calls are counted.
        default_deadline: seconds for a call without a deadline.
        slow: calls that take longer, in seconds, are logged.
        log_all: log every call, for debugging.
        tracer: called when a call has ended, or None.

    Attributes:
        draining: set when streams should end.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        metrics: RequestMetrics,
        *,
        default_deadline: float,
        slow: float,
        log_all: bool,
        tracer: Tracer | None,
    ) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
        self._default_deadline = default_deadline
        self._slow = slow
        self._log_all = log_all
        self._tracer = tracer
        self._in_flight = 0
        self._idle = asyncio.Event()
        self.draining = asyncio.Event()

    async def drained(self) -> None:
        """Ask streams to end, and return when no call is in flight."""
        self.draining.set()
        if self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    def unary(self, rpc: Rpc, handler: UnaryHandler) -> Any:
        """The gRPC handler of a method with one request and one reply."""

        async def serve(raw: bytes, context: Any) -> bytes:
            remaining = time_left(context)
            call = self._begin(rpc, context, self._default_deadline if remaining is None else remaining)
            try:
                call.caller = self._authenticator.authenticate(call.authorization, context, rpc.permission)
                if remaining is None:
                    reply = await within(self._default_deadline, handler(raw, call))
                else:
                    reply = await handler(raw, call)
            except BaseException as error:  # noqa: BLE001 - `_abort` raises, also for a cancelled call
                await self._abort(call, error)
            self._end(call, grpc.StatusCode.OK)
            return reply

        return grpc.unary_unary_rpc_method_handler(serve)

    def stream(self, rpc: Rpc, handler: StreamHandler) -> Any:
        """The gRPC handler of a method with streams both ways; the handler reads and writes `call.context`."""

        async def serve(_: object, context: Any) -> None:
            remaining = time_left(context)
            call = self._begin(rpc, context, STREAM_SECONDS if remaining is None else remaining)
            try:
                call.caller = self._authenticator.authenticate(call.authorization, context, rpc.permission)
                await handler(call)
            except BaseException as error:  # noqa: BLE001 - `_abort` raises, also for a cancelled call
                await self._abort(call, error)
            self._end(call, grpc.StatusCode.OK)

        return grpc.stream_stream_rpc_method_handler(serve)

    def public_error(self, call: Call, error: Exception) -> MunjangError:
        """What the caller may see of an error; counts it, and logs what the caller may not see."""
        shown = public(error, call.request_id)
        self._metrics.failed(call.rpc.name, shown.reason)
        if shown.reason == UNEXPECTED:
            log.error("internal error", rpc=call.rpc.path, request_id=call.request_id, exc_info=error)
        return shown

    def _begin(self, rpc: Rpc, context: Any, seconds: float) -> Call:
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
        call = Call(rpc, context, request_id, time.monotonic() + seconds, started, authorization, traceparent)
        if self._tracer is not None:
            call.spans = []
        self._in_flight += 1
        self._metrics.in_flight[rpc.name] += 1
        return call

    async def _abort(self, call: Call, error: BaseException) -> NoReturn:
        """End a call that failed or was cancelled: raises what gRPC should see."""
        if not isinstance(error, Exception):
            # a handler is cancelled when its caller has gone, and when the caller's deadline passes
            expired = time.monotonic() >= call.deadline
            self._end(call, grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED)
            raise error
        shown = self.public_error(call, error)
        code = code_of(shown)
        self._end(call, code, shown.reason)
        details = ((DETAILS_KEY, status_of(shown).SerializeToString()), (REQUEST_ID_KEY, call.request_id))
        await call.context.abort(code, str(shown), details)
        raise error  # not reached: `abort` raises, but its type does not say so

    def _end(self, call: Call, code: grpc.StatusCode, reason: str = "") -> None:
        """A call has ended: count it, log it if it failed or was slow, trace it."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()
        seconds = time.perf_counter() - call.started
        self._metrics.ended(call.rpc.name, code, seconds)
        worth_it = code is not grpc.StatusCode.OK or seconds > self._slow
        if worth_it or self._log_all:
            (log.info if worth_it else log.debug)(
                "call",
                rpc=call.rpc.path,
                code=code.name,
                reason=reason,
                seconds=round(seconds, 4),
                caller=call.caller.name,
                request_id=call.request_id,
                version=call.version,
                space_id=call.space_id,
                texts=call.texts,
            )
        if self._tracer is not None:
            self._tracer(call, code)


def time_left(context: Any) -> float | None:
    """The seconds that a call has left, or None if that is unknown: it has no deadline, or the clock jumped.

    gRPC holds a deadline as a time of day, so when the clock is set ahead between the arrival of a call and its
    handler, the call seems to be over. gRPC itself cancels calls that are really over, by a clock that does not jump.
    """
    return context.time_remaining() or None


async def within(seconds: float, work: Awaitable[bytes]) -> bytes:
    """Await with the server's own limit, for calls without a deadline.

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
