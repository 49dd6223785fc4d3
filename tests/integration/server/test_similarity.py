"""Similarity over real gRPC: which pairs are scored, by which function, and how the answer is laid out."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import resources_pb2

QUERIES = ["남자가 드럼을 쳤다.", "여자가 책을 읽는다."]
CANDIDATES = ["음악을 연주한다.", "바이올린 소리", "도서관에 갔다."]


def raw(texts, prompt=""):
    return FakeEncoder(seed=1).forward(FakeEncoder().tokenize([prompt + text for text in texts]))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scores(reply):
    return np.frombuffer(reply.scores, "<f4").reshape(reply.rows, reply.columns)


async def test_a_matrix_scores_every_query_with_every_candidate(server):
    reply = await server.embedding.Similarity(pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES))
    np.testing.assert_allclose(scores(reply), unit(raw(QUERIES)) @ unit(raw(CANDIDATES)).T, atol=1e-6)
    assert reply.version == 1
    assert reply.similarity_function == resources_pb2.SIMILARITY_FUNCTION_COSINE
    assert list(reply.query_token_counts) == [len(text) + 2 for text in QUERIES]
    assert list(reply.candidate_token_counts) == [len(text) + 2 for text in CANDIDATES]
    assert not reply.indices


async def test_without_candidates_the_queries_are_compared_with_themselves(server):
    reply = await server.embedding.Similarity(pb2.SimilarityRequest(queries=QUERIES))
    np.testing.assert_allclose(np.diag(scores(reply)), 1, atol=1e-6)
    assert not reply.candidate_token_counts


async def test_pairs_score_each_query_with_its_own_candidate(server):
    request = pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES[:2], mode=pb2.SIMILARITY_MODE_PAIRWISE)
    reply = await server.embedding.Similarity(request)
    assert (reply.rows, reply.columns) == (1, 2)
    expected = (unit(raw(QUERIES)) * unit(raw(CANDIDATES[:2]))).sum(axis=1)
    np.testing.assert_allclose(scores(reply)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("top_k", "kept"), [(1, 1), (2, 2), (99, 3)])
async def test_top_k_keeps_the_nearest_candidates_best_first(server, top_k, kept):
    request = pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES, mode=pb2.SIMILARITY_MODE_TOP_K, top_k=top_k)
    reply = await server.embedding.Similarity(request)
    matrix = unit(raw(QUERIES)) @ unit(raw(CANDIDATES)).T
    order = np.argsort(-matrix, axis=1)[:, :kept]
    assert (reply.rows, reply.columns) == (2, kept)
    np.testing.assert_array_equal(np.array(reply.indices).reshape(2, kept), order)
    np.testing.assert_allclose(scores(reply), np.take_along_axis(matrix, order, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("dot", lambda q, c: q @ c.T),
        ("euclidean", lambda q, c: -np.linalg.norm(q[:, None] - c[None], axis=2)),
        ("manhattan", lambda q, c: -np.abs(q[:, None] - c[None]).sum(axis=2)),
    ],
)
async def test_the_models_own_function_compares_its_own_vectors(run_server, function, expected):
    encoder = FakeEncoder(ModelInfo(8, 128, similarity=function), seed=1)
    async with run_server(encoder=encoder) as server:
        reply = await server.embedding.Similarity(pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES))
    number = resources_pb2.SimilarityFunction.Value(f"SIMILARITY_FUNCTION_{function.upper()}")
    assert reply.similarity_function == number
    np.testing.assert_allclose(scores(reply), expected(raw(QUERIES), raw(CANDIDATES)), rtol=1e-5)


async def test_each_side_has_a_prompt_of_its_own(server):
    request = pb2.SimilarityRequest(
        queries=QUERIES, candidates=CANDIDATES, query_prompt_name="query", candidate_prompt_name="passage"
    )
    reply = await server.embedding.Similarity(request)
    expected = unit(raw(QUERIES, "질문: ")) @ unit(raw(CANDIDATES, "문서: ")).T
    np.testing.assert_allclose(scores(reply), expected, atol=1e-6)


async def test_each_side_has_a_role_and_a_text_of_a_prompt_of_its_own(server):
    query, document = resources_pb2.ROLE_QUERY, resources_pb2.ROLE_DOCUMENT
    request = pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES, query_role=query, candidate_role=document)
    reply = await server.embedding.Similarity(request)
    expected = unit(raw(QUERIES, "질문: ")) @ unit(raw(CANDIDATES, "문서: ")).T
    np.testing.assert_allclose(scores(reply), expected, atol=1e-6)
    assert (reply.version, reply.space_id) == (1, "5a" * 16)
    request.query_prompt, request.candidate_prompt = "찾기: ", ""
    expected = unit(raw(QUERIES, "찾기: ")) @ unit(raw(CANDIDATES)).T
    np.testing.assert_allclose(scores(await server.embedding.Similarity(request)), expected, atol=1e-6)


async def test_the_role_of_the_queries_is_that_of_both_sides_where_there_are_no_candidates(server):
    request = pb2.SimilarityRequest(queries=QUERIES, query_role=resources_pb2.ROLE_QUERY)
    asked = unit(raw(QUERIES, "질문: "))
    np.testing.assert_allclose(scores(await server.embedding.Similarity(request)), asked @ asked.T, atol=1e-6)


async def test_fewer_dimensions_are_compared_by_the_cosine_of_what_is_left(server):
    request = pb2.SimilarityRequest(queries=QUERIES, candidates=CANDIDATES, dimensions=3)
    reply = await server.embedding.Similarity(request)
    expected = unit(raw(QUERIES)[:, :3]) @ unit(raw(CANDIDATES)[:, :3]).T
    np.testing.assert_allclose(scores(reply), expected, atol=1e-6)


async def test_cut_texts_are_named_on_their_own_side(server):
    request = pb2.SimilarityRequest(queries=[QUERIES[0], "긴 글 " * 99], candidates=["긴 글 " * 99, CANDIDATES[0]])
    reply = await server.embedding.Similarity(request)
    assert (list(reply.truncated_queries), list(reply.truncated_candidates)) == ([1], [0])
