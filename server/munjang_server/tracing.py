"""Traces of calls, recorded when a call has ended: one span for the call, one for each of its steps.

Without an endpoint it neither runs nor is imported.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    import grpc
    from opentelemetry.sdk.trace import TracerProvider

    from munjang_server.rpc.calls import Call


class Tracing:
    """Records calls with a tracer provider, as parts of the callers' traces."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("munjang.server")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, call: Call, code: grpc.StatusCode) -> None:
        """Record a call that ends now."""
        now = time.perf_counter()
        epoch = time.time_ns() - int(now * 1e9)
        parent = self._propagator.extract({"traceparent": call.traceparent}) if call.traceparent else None
        attributes: dict[str, str | int] = {
            "rpc.system": call.door.value,
            "rpc.service": call.rpc.service,
            "rpc.method": call.rpc.name,
            "rpc.grpc.status_code": code.value[0],
            "munjang.request_id": call.request_id,
            "munjang.version": call.version,
            "munjang.space_id": call.space_id,
            "munjang.texts": call.texts,
        }
        span = self._tracer.start_span(
            call.rpc.path, parent, SpanKind.SERVER, attributes, start_time=epoch + int(call.started * 1e9)
        )
        inside = set_span_in_context(span)
        for name, start, end in call.spans or ():
            step = self._tracer.start_span(name, inside, start_time=epoch + int(start * 1e9))
            step.end(epoch + int(end * 1e9))
        if code.value[0]:
            span.set_status(Status(StatusCode.ERROR, code.name))
        span.end(epoch + int(now * 1e9))
