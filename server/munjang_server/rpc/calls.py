"""What surrounds every handler, by whichever door its call came: identity, request id, accounting, the error's end.

A handler gets a request and a `Call`, and returns a reply or raises an error. It knows no door and no status codes.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog

from munjang.errors import DeadlineExceeded, MunjangError
from munjang_server.rpc.errors import UNEXPECTED, code_of, public
from munjang_server.security.authentication import ANONYMOUS, Caller, Permission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from munjang_server.metrics import RequestMetrics
    from munjang_server.security.authentication import Authenticator

    Tracer = Callable[["Call", grpc.StatusCode], None]

T = TypeVar("T")

EARLY_SECONDS = 0.05
"""A caller's own clock ends a call so much before its deadline here: what it sent was on its way."""

REQUEST_ID = re.compile(r"[!-~]{1,128}")

log = structlog.get_logger("munjang.server")


class Door(StrEnum):
    """How a call came in."""

    GRPC = "grpc"
    HTTP = "http"


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
        door: how it came in.
        request_id: as the caller named the call, or generated here.
        deadline: the `time.monotonic()` by which the answer is wanted; every call has one.
        started: `time.perf_counter()` at its start.
        authorization: the caller's credentials, as sent.
        traceparent: the caller's trace, or empty.
        context: gRPC's own context, for streams to read and write.
        caller: who calls, once authenticated.
        spans: its steps by name, start and end in `time.perf_counter()`; None where calls are not traced.
        version: the version that answered, 0 before it is known.
        space_id: that version's space, empty before it is known.
        texts: how many texts it has.
    """

    rpc: Rpc
    door: Door
    request_id: str
    deadline: float
    started: float
    authorization: str = field(default="", repr=False)
    traceparent: str = ""
    context: Any = None
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


class Calls:
    """Begins and ends the calls of all doors.

    Args:
        authenticator: identifies callers.
        metrics: where calls are counted.
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
        slow: float,
        log_all: bool,
        tracer: Tracer | None,
    ) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
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

    def begin(self, call: Call) -> None:
        """A call has come; a name for it is generated unless it has a valid one. Every call that began must end."""
        if not REQUEST_ID.fullmatch(call.request_id):
            call.request_id = f"{random.getrandbits(64):016x}"
        if self._tracer is not None:
            call.spans = []
        self._in_flight += 1
        self._metrics.in_flight[call.rpc.name, call.door] += 1

    def authenticate(self, call: Call, peer: Callable[[], str]) -> None:
        """Find out who calls.

        Raises:
            Unauthenticated: nobody that this server knows.
            PermissionDenied: known, but not allowed to call this method.
        """
        call.caller = self._authenticator.authenticate(call.authorization, peer, call.rpc.permission)

    def public_error(self, call: Call, error: Exception) -> MunjangError:
        """What the caller may see of an error; counts it, and logs what the caller may not see."""
        shown = public(error, call.request_id)
        self._metrics.failed(call.rpc.name, call.door, shown.reason)
        if shown.reason == UNEXPECTED:
            log.error("internal error", rpc=call.rpc.path, request_id=call.request_id, exc_info=error)
        return shown

    def fail(self, call: Call, error: Exception) -> MunjangError:
        """A call has ended with an error: what the caller may see of it."""
        shown = self.public_error(call, error)
        self.end(call, code_of(shown), shown.reason)
        return shown

    def cancel(self, call: Call) -> None:
        """A call has ended without an answer: its caller has gone, or its deadline has passed."""
        expired = time.monotonic() >= call.deadline - EARLY_SECONDS
        self.end(call, grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED)

    def end(self, call: Call, code: grpc.StatusCode = grpc.StatusCode.OK, reason: str = "") -> None:
        """A call has ended: count it, log it if it failed or was slow, trace it."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()
        seconds = time.perf_counter() - call.started
        self._metrics.ended(call.rpc.name, call.door, code, seconds)
        worth_it = code is not grpc.StatusCode.OK or seconds > self._slow
        if worth_it or self._log_all:
            (log.info if worth_it else log.debug)(
                "call",
                rpc=call.rpc.path,
                door=call.door.value,
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


async def within(seconds: float, work: Awaitable[T], given: str = "this server gives to calls without a deadline") -> T:
    """Await with a limit, where nobody else watches the deadline; `given` says where the limit comes from.

    Raises:
        DeadlineExceeded: the limit passed.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        msg = f"the call took longer than the {seconds:g} seconds that {given}"
        raise DeadlineExceeded(msg) from error
