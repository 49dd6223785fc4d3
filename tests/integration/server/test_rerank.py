"""Rerank over real gRPC: the order of documents, what is refused, and both kinds of models in one server."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import activated
from munjang.kinds import ModelKind
from munjang.testing import POISON, FakeEncoder
from munjang.v1 import embedding_service_pb2, model_service_pb2, resources_pb2
from munjang.v1 import rerank_service_pb2 as pb2

INFO = ModelInfo(1, 24, similarity="", kind=ModelKind.CROSS_ENCODER, activation="sigmoid")
QUERY = "환불은 얼마나 걸리나요?"
DOCUMENTS = ["비가 온다.", "3~5일 뒤", "고양이", "환불은 됩니다 🎉"]


def reranker(seed):
    return FakeEncoder(INFO, seed=seed)


def raw(documents=DOCUMENTS, seed=2, query=QUERY):
    encoder = reranker(seed)
    return encoder.forward(encoder.tokenize_pairs([(query, document) for document in documents]))[:, 0]


def request(**options):
    return pb2.RerankRequest(**{"query": QUERY, "documents": DOCUMENTS} | options)


@pytest.fixture
async def both(server):
    """A server with a dense version 1 behind `stable`, and a cross-encoder, version 2, behind `rerank`."""
    server.models.publish(2, reranker(2))
    server.models.promote(2, "rerank")
    await server.swapped(2, "rerank")
    return server


async def refused(server, failure, **options):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.reranking.Rerank(request(**options))
    return failure(caught.value)


async def test_documents_come_best_first_with_the_models_own_activation(both):
    reply = await both.reranking.Rerank(request())
    expected = activated(raw(), "sigmoid")
    assert (reply.version, reply.space_id) == (2, "5a" * 16)
    assert [found.index for found in reply.results] == np.argsort(-expected).tolist()
    np.testing.assert_allclose([found.score for found in reply.results], np.sort(expected)[::-1], atol=1e-6)
    assert list(reply.token_counts) == [min(24, len(QUERY) + len(document) + 3) for document in DOCUMENTS]
    assert list(reply.truncated) == [3]


async def test_raw_scores_and_the_best_few(both):
    reply = await both.reranking.Rerank(request(top_n=2, raw_scores=True))
    np.testing.assert_allclose([found.score for found in reply.results], np.sort(raw())[:-3:-1], atol=1e-6)
    assert len(reply.token_counts) == len(DOCUMENTS)


async def test_documents_of_equal_score_keep_their_order(both):
    reply = await both.reranking.Rerank(request(documents=["같다", "같다", "같다"]))
    assert [found.index for found in reply.results] == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        ({"documents": []}, "NO_TEXTS", "documents"),
        ({"documents": ["가", " "]}, "EMPTY_TEXT", "documents[1]"),
        ({"query": " "}, "EMPTY_TEXT", "query"),
        ({"query": ""}, "EMPTY_TEXT", "query"),
        ({"query": "가" * 201}, "TEXT_TOO_LONG", "query"),
        ({"documents": ["가", "나" * 201]}, "TEXT_TOO_LONG", "documents[1]"),
        ({"documents": ["가"] * 9}, "TOO_MANY_TEXTS", "documents"),
        ({"truncation": 9}, "INVALID_OPTION", "truncation"),
        ({"truncation": resources_pb2.TRUNCATION_NONE}, "TEXT_TOO_LONG", "documents[3]"),
        ({"version": "없음"}, "VERSION_NOT_FOUND", "version"),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(run_server, failure, options, reason, field):
    async with run_server(max_texts=8, max_text_chars=200) as server:
        server.models.publish(2, reranker(2))
        server.models.promote(2, "rerank")
        await server.swapped(2, "rerank")
        seen = await refused(server, failure, **options)
        assert (seen.reason, seen.field) == (reason, field)


async def test_a_query_that_is_not_utf_8_is_named(both, failure):
    call = both.channel.unary_unary("/munjang.v1.RerankService/Rerank")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\x0a\x02\xff\xfe\x12\x03\xea\xb0\x80")
    seen = failure(caught.value)
    assert (seen.reason, seen.field) == ("INVALID_TEXT", "query")


async def test_a_document_that_fails_the_model_is_named(both, failure):
    both.models.encoders[2].tokenize_pairs = lambda pairs: [
        FakeEncoder(INFO).tokenize([document])[0] for _, document in pairs
    ]
    seen = await refused(both, failure, documents=["가", f"{POISON}약"])
    assert (seen.reason, seen.field) == ("ENCODE_FAILED", "documents[1]")


async def test_without_a_reranker_a_caller_is_told_what_to_do(server, failure):
    seen = await refused(server, failure)
    assert (seen.code, seen.reason, seen.field) == ("NOT_FOUND", "VERSION_NOT_FOUND", "version")
    assert "publish a cross-encoder" in seen.message


@pytest.mark.parametrize("version", ["1", "stable"])
async def test_a_dense_version_never_reranks(both, failure, version):
    seen = await refused(both, failure, version=version)
    assert (seen.code, seen.reason, seen.field) == ("FAILED_PRECONDITION", "WRONG_KIND", "version")
    assert "version 1 is a dense model" in seen.message


@pytest.mark.parametrize("version", ["2", "rerank"])
async def test_a_cross_encoder_never_makes_vectors(both, failure, version):
    options = resources_pb2.EncodeOptions(version=version)
    calls = [
        both.embedding.Encode(embedding_service_pb2.EncodeRequest(texts=["가"], options=options)),
        both.embedding.Similarity(embedding_service_pb2.SimilarityRequest(queries=["가"], version=version)),
    ]
    for call, field in zip(calls, ("options.version", "version"), strict=True):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        seen = failure(caught.value)
        assert (seen.code, seen.reason, seen.field) == ("FAILED_PRECONDITION", "WRONG_KIND", field)
        assert "version 2 is a cross-encoder" in seen.message


async def test_a_refused_kind_gives_its_lease_back(both, failure):
    await refused(both, failure, version="1")
    both.models.publish(3)
    both.models.publish(4)
    for version in (3, 4):
        both.models.promote(version)
        await both.swapped(version)
    await both.until(lambda: both.models.encoders[1].closed)


async def test_the_kinds_are_listed(both):
    reply = await both.listing.ListVersions(model_service_pb2.ListVersionsRequest())
    assert [(each.version, each.kind) for each in reply.versions] == [
        (2, resources_pb2.MODEL_KIND_CROSS_ENCODER),
        (1, resources_pb2.MODEL_KIND_DENSE),
    ]


async def test_a_reranker_swaps_under_load_beside_encoding_and_no_call_fails(both):
    texts = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
    ended = asyncio.Event()
    replies: list[pb2.RerankResponse] = []
    vectors: list[embedding_service_pb2.EncodeResponse] = []

    async def call_until_the_end(call, kept):
        while not ended.is_set():
            kept.append(await call())

    rerank = lambda: both.reranking.Rerank(request(raw_scores=True))  # noqa: E731 - short
    encode = lambda: both.embedding.Encode(embedding_service_pb2.EncodeRequest(texts=texts))  # noqa: E731 - short
    async with asyncio.TaskGroup() as callers:
        for _ in range(8):
            callers.create_task(call_until_the_end(rerank, replies))
            callers.create_task(call_until_the_end(encode, vectors))
        await both.until(lambda: len(replies) >= 8)
        for version in (3, 4):
            both.models.publish(version, reranker(version))
            both.models.promote(version, "rerank")
            await both.swapped(version, "rerank")
            await both.until(lambda version=version: bool(replies) and replies[-1].version == version)
        ended.set()
    assert {reply.version for reply in vectors} == {1}
    assert {reply.version for reply in replies} == {2, 3, 4}
    for reply in replies:
        expected = raw(seed=reply.version)
        assert [found.index for found in reply.results] == np.argsort(-expected).tolist()
    metric = both.metric
    assert metric("munjang_server_requests_total", door="grpc", rpc="Rerank", code="OK") == len(replies)


async def test_reranked_pairs_are_cached_apart_from_texts(run_server):
    async with run_server(embedding_cache_mb=1) as server:
        server.models.publish(2, reranker(2))
        server.models.promote(2, "rerank")
        await server.swapped(2, "rerank")
        first = await server.reranking.Rerank(request())
        again = await server.reranking.Rerank(request(raw_scores=True))
        assert [found.index for found in again.results] == [found.index for found in first.results]
        assert sum(server.models.encoders[2].batches) <= len(DOCUMENTS) + 10  # and probes
        assert server.metric("munjang_server_embedding_cache_hits_total") == len(DOCUMENTS)
