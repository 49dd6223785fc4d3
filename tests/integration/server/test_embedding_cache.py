"""The embedding cache over real gRPC: the same replies as without it, with fewer forwards."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import resources_pb2

TEXTS = ["첫째 문장", "둘째 문장입니다", "첫째 문장", "가" * 300]
NFD = "\u1100\u1161"
ENCODES = [
    pb2.EncodeRequest(texts=TEXTS),
    pb2.EncodeRequest(texts=[*TEXTS[::-1], "새 문장"]),
    pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(dimensions=4)),
    pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(prompt_name="query")),
    pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(precision="PRECISION_INT8")),
    pb2.EncodeRequest(texts=["가", NFD, "가"]),
    pb2.EncodeRequest(texts=["첫째 문장", " ", "독약", "독약", "둘째"], partial_results=True),
    pb2.EncodeRequest(texts=["첫째 문장", ""]),
    pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(truncation="TRUNCATION_NONE")),
    pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(dimensions=9)),
]
SIMILARITIES = [
    pb2.SimilarityRequest(queries=TEXTS),
    pb2.SimilarityRequest(queries=TEXTS[:2], candidates=[*TEXTS, "새 문장"], query_prompt_name="query"),
]


async def answers(server):
    """The reply, or status and message, of every call; all of them twice."""
    found = []
    stub = server.embedding
    for _ in range(2):
        calls = [(stub.Encode, each) for each in ENCODES] + [(stub.Similarity, each) for each in SIMILARITIES]
        for method, request in calls:
            try:
                found.append((await method(request)).SerializeToString(deterministic=True))
            except grpc.aio.AioRpcError as error:
                found.append((error.code(), error.details()))
    sent = [pb2.EncodeStreamRequest(id=str(number), request=each) for number, each in enumerate(ENCODES)]
    stream = {reply.id: reply.SerializeToString(deterministic=True) async for reply in stub.EncodeStream(iter(sent))}
    return [*found, stream]


async def test_replies_and_refusals_are_the_same_with_and_without_the_cache(run_server):
    async with run_server() as plain, run_server(embedding_cache_mb=1) as cached:
        assert await answers(plain) == await answers(cached)
        assert sum(cached.encoder.batches) < sum(plain.encoder.batches) / 2
        assert plain.metric("munjang_server_embedding_cache_hits_total") == 0
        assert plain.metric("munjang_server_embedding_cache_entries") == 0
        assert cached.metric("munjang_server_embedding_cache_hits_total") > 0


async def test_a_text_that_comes_again_is_answered_while_the_engine_is_stuck(run_server):
    async with run_server(embedding_cache_mb=1) as server:
        first = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
        server.encoder.gate.clear()
        again = await asyncio.wait_for(server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS)), 30)
        assert again == first


@pytest.mark.parametrize("version", ["", "stable", "2"])
async def test_a_new_version_never_answers_with_vectors_of_the_old_one(run_server, version):
    async with run_server(embedding_cache_mb=1) as server:
        old = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
        server.models.publish(2)
        server.models.promote(2)
        await server.swapped(2)
        options = resources_pb2.EncodeOptions(version=version)
        new = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
        assert (old.version, new.version) == (1, 2)
        assert old.vectors.data != new.vectors.data


async def test_vectors_of_an_unloaded_version_are_given_up(run_server):
    async with run_server(embedding_cache_mb=1) as server:
        await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
        assert server.metric("munjang_server_embedding_cache_entries") == 3
        for version in (2, 3):
            server.models.publish(version)
            server.models.promote(version)
            await server.swapped(version)
        await server.until(lambda: server.metric("munjang_server_unloads_total") == 1)
        assert server.metric("munjang_server_embedding_cache_entries") == 0
        assert server.metric("munjang_server_embedding_cache_bytes") == 0
