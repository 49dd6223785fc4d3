"""Calls from their beginning to their end, whatever the end is: counted, logged where that is worth it, traced.

What goes wrong in a handler becomes gRPC's status here, with its details.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import structlog

from munjang_server.errors import DETAILS_KEY, REQUEST_ID_KEY, UNEXPECTED, code_of, public, status_of

if TYPE_CHECKING:
    from munjang.errors import MunjangError
    from munjang_server.call import Call
    from munjang_server.metrics.calls import CallMetrics
    from munjang_server.tracing import Tracing

log = structlog.get_logger("munjang.server")


class Visits:
    """All calls that are being served.

    Args:
        metrics: where calls are counted.
        slow: calls that take longer, in seconds, are logged.
        log_all: log every call, for debugging.
        tracing: where traces go, or None.
    """

    def __init__(self, metrics: CallMetrics, *, slow: float, log_all: bool, tracing: Tracing | None) -> None:
        self._metrics = metrics
        self._slow = slow
        self._log_all = log_all
        self._tracing = tracing
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def traced(self) -> bool:
        """Whether calls shall note their spans."""
        return self._tracing is not None

    async def all_ended(self) -> None:
        """Return when no call is being served."""
        await self._idle.wait()

    def of(self, call: Call) -> Visit:
        """A context in which a call is served."""
        return Visit(self, call)

    def visible(self, call: Call, error: Exception) -> MunjangError:
        """What the caller may see of an error; counts it, and logs what the caller may not see."""
        shown = public(error, call.request_id)
        self._metrics.failed(call.rpc.name, shown.reason)
        if shown.reason == UNEXPECTED:
            log.error("internal error", rpc=call.rpc.path, request_id=call.request_id, exc_info=error)
        return shown

    def begin(self, call: Call) -> None:
        """A call begins."""
        self._serving += 1
        self._idle.clear()
        self._metrics.in_flight[call.rpc.name].inc()

    def end(self, call: Call, code: grpc.StatusCode, reason: str) -> None:
        """A call has ended: count it, log it where it is worth it, trace it."""
        self._serving -= 1
        if not self._serving:
            self._idle.set()
        seconds = time.perf_counter() - call.started
        name = call.rpc.name
        self._metrics.in_flight[name].dec()
        self._metrics.requests[name][code].inc()
        self._metrics.seconds[name].observe(seconds)
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
                texts=call.texts,
            )
        if self._tracing is not None:
            self._tracing.record(call, code)


class Visit:
    """One call from its beginning to its end, whatever the end is."""

    __slots__ = ("_call", "_visits")

    def __init__(self, visits: Visits, call: Call) -> None:
        self._visits = visits
        self._call = call

    async def __aenter__(self) -> None:
        self._visits.begin(self._call)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        visits, call = self._visits, self._call
        if error is None:
            visits.end(call, grpc.StatusCode.OK, "")
        elif isinstance(error, Exception):
            shown = visits.visible(call, error)
            code = code_of(shown)
            visits.end(call, code, shown.reason)
            details = ((DETAILS_KEY, status_of(shown).SerializeToString()), (REQUEST_ID_KEY, call.request_id))
            await call.context.abort(code, str(shown), details)
        else:
            visits.end(call, _why_cancelled(call), "")


def _why_cancelled(call: Call) -> grpc.StatusCode:
    """A handler is cancelled when its caller has gone, and when the caller's deadline passes."""
    expired = time.monotonic() >= call.deadline
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
