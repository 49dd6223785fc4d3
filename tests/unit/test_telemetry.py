"""Spans reach a collector on this machine past a proxy of the environment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from munjang.settings import Settings
from munjang.telemetry import setup_tracing
from tests.proxies import proxy_in_environment


@pytest.fixture
def collector():
    """The port of a collector, and the names of the spans that it got."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    names = []

    class Collector(service.TraceServiceServicer):
        def Export(self, request, _context):  # noqa: N802 - grpc's name
            names.extend(
                span.name for found in request.resource_spans for scope in found.scope_spans for span in scope.spans
            )
            return messages.ExportTraceServiceResponse()

    pool = ThreadPoolExecutor(2)
    server = grpc.server(pool)
    service.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, names
    server.stop(0).wait()
    pool.shutdown()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{}", "http://localhost:{}", "localhost:{}"])
def test_spans_go_past_the_proxy(collector, monkeypatch, endpoint):
    port, names = collector
    with proxy_in_environment(monkeypatch) as proxy:
        provider = setup_tracing(Settings(otlp_endpoint=endpoint.format(port)), "test")
        provider.get_tracer("test").start_span("추적").end()
        provider.shutdown()
        assert names == ["추적"]
        assert not proxy.asked
