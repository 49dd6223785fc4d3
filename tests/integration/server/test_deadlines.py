"""Callers who leave, and calls that take too long: nothing waits for ever, and nothing is done for nobody."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

from munjang.v1 import embedding_service_pb2 as pb2
from tests.hostile_texts import FAMILIES, hostile_text

REQUEST = pb2.EncodeRequest(texts=["천천히 오는 답"])


def ended(server, code):
    return server.metric("munjang_server_requests_total", door="grpc", rpc="Encode", code=code)


async def stuck(server):
    """Let the engine hang in a forward, and return the call that waits for it."""
    server.encoder.gate.clear()
    waiting = server.embedding.Encode(REQUEST, timeout=30)
    await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
    return waiting


async def test_a_call_without_a_deadline_gets_the_servers(run_server, failure):
    async with run_server(default_deadline_seconds=0.3) as server:
        waiting = await stuck(server)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(REQUEST)
        seen = failure(caught.value)
        assert (seen.code, seen.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        server.encoder.gate.set()
        await waiting


async def test_a_call_that_was_cancelled_leaves_the_queue(server):
    waiting = await stuck(server)
    gone = server.embedding.Encode(REQUEST, timeout=30)
    await server.until(lambda: server.scheduler.load.queued_texts["interactive"] == 1)
    gone.cancel()
    await server.until(lambda: server.scheduler.load.queued_texts["interactive"] == 0)
    await server.until(lambda: ended(server, "CANCELLED") == 1)
    server.encoder.gate.set()
    await waiting
    assert server.encoder.batches[-1] == 1


async def test_a_call_whose_deadline_passes_is_counted_as_that(server):
    waiting = await stuck(server)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.embedding.Encode(REQUEST, timeout=0.2)
    assert caught.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    code = caught.value.code().name
    await server.until(lambda: ended(server, code) == 1)
    server.encoder.gate.set()
    await waiting


async def test_a_call_is_answered_at_its_deadline_while_its_text_is_tokenised(server, monkeypatch):
    begun, gate, tokenize = threading.Event(), threading.Event(), server.encoder.tokenize

    def stall(texts, how=None):
        if len(texts[0]) == 100_000:
            begun.set()
            gate.wait()
        return tokenize(texts, how)

    monkeypatch.setattr(server.encoder, "tokenize", stall)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(pb2.EncodeRequest(texts=["가" * 100_000]), timeout=1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert begun.is_set()
        assert (await server.embedding.Encode(REQUEST)).version == 1
    finally:
        gate.set()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_hostile_text_is_answered_in_time(server, family):
    text = hostile_text(family, 200_000)
    call = server.embedding.Encode(pb2.EncodeRequest(texts=[text], partial_results=True), timeout=20)
    assert [error.index for error in (await call).errors] == [0] * text.isspace()


async def test_a_list_that_cannot_be_answered_in_time_is_refused_before_it_is_tokenised(server, failure, monkeypatch):
    tokenized = []
    honest = server.encoder.tokenize
    monkeypatch.setattr(server.encoder, "tokenize", lambda *given: tokenized.append(given) or honest(*given))
    waiting = await stuck(server)
    tokenized.clear()
    many = pb2.EncodeRequest(texts=["가"] * 640)
    queued = [server.embedding.Encode(many, timeout=30) for _ in range(8)]
    await server.until(lambda: sum(server.scheduler.load.queued_texts.values()) == 8 * 640)
    assert len(tokenized) == 8
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.embedding.Encode(many, timeout=1)
    assert failure(caught.value).reason == "DEADLINE_UNREACHABLE"
    assert len(tokenized) == 8
    server.encoder.gate.set()
    await asyncio.gather(waiting, *queued)


async def test_a_version_stays_until_the_last_call_on_it_has_gone(server):
    waiting = await stuck(server)
    encoder = server.encoder
    for version in (2, 3):
        server.models.publish(version)
        server.models.promote(version)
        await server.swapped(version)
    assert not encoder.closed
    encoder.gate.set()
    assert (await waiting).version == 1
    await server.until(lambda: encoder.closed)


async def test_calls_in_flight_are_counted(server):
    waiting = await stuck(server)
    assert server.metric("munjang_server_requests_in_flight", door="grpc", rpc="Encode") == 1
    server.encoder.gate.set()
    await asyncio.gather(waiting)
    await server.until(lambda: server.metric("munjang_server_requests_in_flight", door="grpc", rpc="Encode") == 0)
