"""Metrics, traces, request ids and logs of real calls."""

from __future__ import annotations

import json
import urllib.request

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from munjang.metrics import new_registry
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import resources_pb2
from munjang_server.metrics_page import serve_page
from munjang_server.tracing import Tracing

TEXTS = ["첫째 문장", "둘째 문장입니다"]


def requests(server, rpc, code):
    return server.metric("munjang_server_requests_total", door="grpc", rpc=rpc, code=code)


async def test_the_server_counts_what_the_client_counts(server):
    for _ in range(7):
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError):
            await server.embedding.Encode(pb2.EncodeRequest())
    await server.embedding.Similarity(pb2.SimilarityRequest(queries=TEXTS))
    await server.until(lambda: requests(server, "Similarity", "OK") == 1)
    assert requests(server, "Encode", "OK") == 7
    assert requests(server, "Encode", "INVALID_ARGUMENT") == 3
    assert server.metric("munjang_server_errors_total", door="grpc", rpc="Encode", reason="NO_TEXTS") == 3
    labels = {"rpc": "Encode", "version": "1", "lane": "interactive"}
    assert server.metric("munjang_server_texts_total", **labels) == 14
    assert server.metric("munjang_server_tokens_total", **labels) == 7 * sum(len(text) + 2 for text in TEXTS)
    assert server.metric("munjang_server_request_seconds_count", door="grpc", rpc="Encode") == 10


async def test_calls_are_interactive_and_streams_are_bulk(run_server):
    async with run_server() as server:
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS * 2))
        call = server.embedding.EncodeStream(
            iter([pb2.EncodeStreamRequest(id="1", request=pb2.EncodeRequest(texts=TEXTS))])
        )
        assert [reply.id async for reply in call] == ["1"]
        counted = {
            (rpc, lane): server.metric("munjang_server_texts_total", rpc=rpc, version="1", lane=lane)
            for rpc in ("Encode", "EncodeStream")
            for lane in ("interactive", "bulk")
        }
    assert counted == {
        ("Encode", "interactive"): 6,
        ("Encode", "bulk"): 0,
        ("EncodeStream", "interactive"): 0,
        ("EncodeStream", "bulk"): 2,
    }


async def test_swaps_and_resident_versions_are_shown(server):
    server.models.publish(2)
    server.models.promote(2)
    await server.swapped(2)
    assert server.metric("munjang_server_alias_version", alias="stable") == 2
    assert server.metric("munjang_server_swaps_total") == 2
    assert server.metric("munjang_server_loads_total", outcome="ok") == 2
    assert server.metric("munjang_server_resident_versions") == 2
    server.models.refused[3] = RuntimeError("깨졌다")
    server.models.publish(3)
    server.models.promote(3)
    assert await server.loaded(3) is False
    assert server.metric("munjang_server_loads_total", outcome="failed") == 1
    assert server.metric("munjang_server_versions", state="failed") == 1


async def test_series_stand_at_zero_before_the_first_call(server):
    page = generate_latest(server.registry).decode()
    for series in (
        'munjang_server_requests_total{code="OK",door="grpc",rpc="Encode"} 0.0',
        'munjang_server_errors_total{door="grpc",reason="OVERLOADED",rpc="Similarity"} 0.0',
        'munjang_server_rejected_requests_total{lane="bulk",reason="DEADLINE_UNREACHABLE"} 0.0',
        'munjang_server_dropped_texts_total{lane="interactive",reason="expired"} 0.0',
        'munjang_server_texts_total{lane="interactive",rpc="Encode",version="1"} 0.0',
        'munjang_server_queued_tokens{lane="bulk"} 0.0',
    ):
        assert series in page.splitlines()


async def test_a_trace_has_the_steps_of_a_call_and_joins_the_callers(run_server):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with run_server(tracing=Tracing(provider)) as server:
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        metadata = (("traceparent", parent), ("x-request-id", "주문".encode().hex()))
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS), metadata=metadata)
        await server.until(lambda: len(exporter.get_finished_spans()) == 5)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    call = spans.pop("munjang.v1.EmbeddingService/Encode")
    assert format(call.context.trace_id, "032x") == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert format(call.parent.span_id, "016x") == "00f067aa0ba902b7"
    assert call.attributes["munjang.request_id"] == "주문".encode().hex()
    assert call.attributes["munjang.version"] == 1
    assert spans.keys() == {"tokenize", "queue", "forward", "postprocess"}
    for span in spans.values():
        assert span.parent.span_id == call.context.span_id
        assert call.start_time <= span.start_time <= span.end_time <= call.end_time
    assert spans["tokenize"].end_time <= spans["queue"].start_time
    assert spans["forward"].end_time <= spans["postprocess"].start_time


async def test_a_failed_call_is_a_failed_span(run_server):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with run_server(tracing=Tracing(provider)) as server:
        with pytest.raises(grpc.aio.AioRpcError):
            await server.embedding.Encode(pb2.EncodeRequest())
        await server.until(lambda: len(exporter.get_finished_spans()) == 1)
    [span] = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_refused_call_is_logged_with_its_id_and_without_its_texts(server):
    with capture_logs() as lines:
        with pytest.raises(grpc.aio.AioRpcError):
            await server.embedding.Encode(
                pb2.EncodeRequest(texts=["비밀스러운 문장", ""]), metadata=(("x-request-id", "abc-1"),)
            )
        await server.until(lambda: any(line["event"] == "call" for line in lines))
    [line] = [line for line in lines if line["event"] == "call"]
    assert (line["rpc"], line["code"], line["reason"]) == (
        "munjang.v1.EmbeddingService/Encode",
        "INVALID_ARGUMENT",
        "EMPTY_TEXT",
    )
    assert line["request_id"] == "abc-1"
    assert "비밀" not in json.dumps(lines, ensure_ascii=False, default=str)


async def test_what_should_not_happen_is_internal_with_an_id_and_nothing_else(server, failure):
    def broken(*_):
        msg = "/secret/path exploded"
        raise ZeroDivisionError(msg)

    server.encoder.tokenize = broken
    with capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS), metadata=(("x-request-id", "abc-2"),))
    seen = failure(caught.value)
    assert (seen.code, seen.reason) == ("INTERNAL", "INTERNAL")
    assert "abc-2" in seen.message
    assert "secret" not in seen.message
    [line] = [line for line in lines if line["event"] == "internal error"]
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert line["request_id"] == "abc-2"


async def test_fast_calls_that_succeed_are_not_logged(server):
    with capture_logs() as lines:
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
        await server.until(lambda: requests(server, "Encode", "OK") == 1)
    assert not lines


async def test_slow_calls_are_logged(run_server):
    async with run_server(slow_seconds=1e-6) as server:
        with capture_logs() as lines:
            options = resources_pb2.EncodeOptions(version="1")
            await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
            await server.until(lambda: bool(lines))
    [line] = lines
    assert (line["code"], line["version"], line["texts"]) == ("OK", 1, 2)


async def test_the_page_shows_the_registry_over_http(unused_tcp_port):
    registry = new_registry("server")
    url = f"http://127.0.0.1:{unused_tcp_port}/metrics"
    with serve_page(registry, "127.0.0.1", unused_tcp_port, {}), urllib.request.urlopen(url) as page:  # noqa: ASYNC210 - the page has a thread of its own
        text = page.read().decode()
    assert "process_resident_memory_bytes" in text
    assert "munjang_server_build_info" in text
    assert "_created" not in text


async def test_an_available_version_is_joined_to_its_space(server):
    labels = {"version": "1", "space_id": "5a" * 16, "kind": "dense"}
    assert server.metric("munjang_server_version_info", **labels) == 1
    server.models.publish(2)
    await server.until(lambda: len(server.engine.versions()) == 2)
    assert server.registry.get_sample_value("munjang_server_version_info", labels | {"version": "2"}) is None
