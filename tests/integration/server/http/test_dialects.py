"""TEI's dialect, the rerank dialect, and our own contract by the Connect protocol, from outside."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from google.rpc import error_details_pb2

from munjang.encoder.contract import ModelInfo
from munjang.kinds import ModelKind
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2

ENCODE = "/munjang.v1.EmbeddingService/Encode"
PROTO = {"content-type": "application/proto"}


@pytest.fixture
async def reranking(both_doors):
    """The same with version 2, a cross-encoder, behind `rerank`."""
    async with both_doors(aliases="stable,rerank") as (server, http):
        server.models.publish(2, FakeEncoder(ModelInfo(1, 128, kind=ModelKind.CROSS_ENCODER), seed=2))
        server.models.promote(2, "rerank")
        await server.swapped(2, "rerank")
        yield server, http


@pytest.mark.parametrize("path", ["/embed", "/"])
async def test_embed_gives_the_vectors_of_grpc(doors, sentences, over_grpc, path):
    server, http = doors
    reply = await http.post(path, json={"inputs": sentences, "normalize": True, "truncate": True})
    assert np.array_equal(np.array(reply.json(), np.float32), await over_grpc(server, sentences))
    asked = {"inputs": sentences[0], "normalize": False, "prompt_name": "query", "dimensions": 4}
    reply = await http.post(path, json=asked)
    expected = await over_grpc(server, sentences[:1], normalize=False, prompt_name="query", dimensions=4)
    assert np.array_equal(np.array(reply.json(), np.float32), expected)


async def test_similarity_gives_the_scores_of_grpc(doors, sentences):
    server, http = doors
    asked = {"inputs": {"source_sentence": sentences[0], "sentences": sentences}}
    reply = await http.post("/similarity", json=asked)
    expected = await server.embedding.Similarity(pb2.SimilarityRequest(queries=sentences[:1], candidates=sentences))
    assert np.array_equal(np.array(reply.json(), np.float32), np.frombuffer(expected.scores, "<f4"))


async def test_tokenize_shows_all_tokens_with_their_places(doors):
    _, http = doors
    asked = {"inputs": "비가 온다", "prompt_name": "query"}
    (tokens,) = (await http.post("/tokenize", json=asked)).json()
    assert tokens[0] == {"id": 1, "text": "<s>", "special": True, "start": None, "stop": None}
    assert "".join(token["text"] for token in tokens[1:-1]) == "질문: 비가 온다"
    (plain,) = (await http.post("/tokenize", json=asked | {"add_special_tokens": False})).json()
    assert plain == tokens[1:-1]
    assert len((await http.post("/tokenize", json={"inputs": "가" * 500})).json()[0]) == 502


async def test_info_and_health_describe_the_server(doors):
    _, http = doors
    info = (await http.get("/info")).json()
    assert (info["model_id"], info["max_input_length"], info["max_client_batch_size"]) == ("가짜/모델", 128, 1024)
    assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        ({"inputs": []}, 400, "empty"),
        ({"inputs": "가" * 500, "truncate": False}, 413, "validation"),
        ({"inputs": "가", "prompt_name": "없음"}, 413, "validation"),
        ({"inputs": "가", "unknown": 1}, 413, "validation"),
        ({"inputs": [1, 2]}, 413, "validation"),
    ],
)
async def test_a_refusal_has_the_type_and_status_of_tei(doors, asked, status, kind):
    _, http = doors
    reply = await http.post("/embed", json=asked)
    assert (reply.status_code, reply.json()["error_type"]) == (status, kind), reply.text


async def test_rerank_orders_texts_in_both_dialects(reranking):
    _, http = reranking
    documents = ["첫 문서", "둘째 문서", "셋째 문서"]
    ranks = (await http.post("/rerank", json={"query": "질문", "texts": documents, "return_text": True})).json()
    assert sorted(rank["index"] for rank in ranks) == [0, 1, 2]
    assert [rank["score"] for rank in ranks] == sorted((rank["score"] for rank in ranks), reverse=True)
    asked = {"model": "rerank", "query": "질문", "documents": [*documents[:2], {"text": documents[2]}]}
    reply = await http.post("/v1/rerank", json=asked | {"top_n": 2, "return_documents": True})
    found = reply.json()
    assert (found["model"], reply.headers["x-munjang-version"]) == ("2", "2")
    assert [each["index"] for each in found["results"]] == [rank["index"] for rank in ranks[:2]]
    assert [each["document"]["text"] for each in found["results"]] == [rank["text"] for rank in ranks[:2]]
    assert found["usage"]["total_tokens"] > 0


async def test_a_model_of_the_wrong_kind_is_refused_by_every_dialect(reranking):
    _, http = reranking
    reply = await http.post("/v1/embeddings", json={"input": "가", "model": "rerank"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "wrong_kind")
    reply = await http.post("/v1/rerank", json={"query": "가", "documents": ["나"], "model": "stable"})
    assert (reply.status_code, reply.json()["code"]) == (400, "wrong_kind")


async def test_without_a_reranker_the_answer_says_how_to_get_one(doors):
    _, http = doors
    reply = await http.post("/v1/rerank", json={"query": "가", "documents": ["나"]})
    assert reply.status_code == 404
    assert "rerank" in reply.json()["message"]


async def test_the_contract_speaks_json_and_binary(doors, sentences, over_grpc):
    server, http = doors
    expected = (await over_grpc(server, sentences)).tobytes()
    reply = await http.post(ENCODE, json={"texts": sentences, "options": {"normalize": True}})
    assert base64.b64decode(reply.json()["vectors"]["data"]) == expected
    raw = pb2.EncodeRequest(texts=sentences).SerializeToString()
    reply = await http.post(ENCODE, content=raw, headers=PROTO)
    assert reply.headers["content-type"] == "application/proto"
    assert pb2.EncodeResponse.FromString(reply.content).vectors.data == expected
    listed = (await http.post("/munjang.v1.ModelService/ListVersions", json={})).json()
    assert [version["version"] for version in listed["versions"]] == [1]


async def test_an_error_of_the_contract_has_the_details_of_grpc(doors):
    _, http = doors
    reply = await http.post(ENCODE, json={"texts": ["하나", ""]})
    error = reply.json()
    assert (reply.status_code, error["code"]) == (400, "invalid_argument")
    details = {each["type"]: base64.b64decode(each["value"] + "==") for each in error["details"]}
    assert error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == "EMPTY_TEXT"
    (violation,) = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations
    assert violation.field == "texts[1]"


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"unknown": 1}',
        b'{"texts": 3}',
        b'{"texts": [null]}',
        b'{"options": []}',
        b'{"texts": ["\\ud800"]}',
    ],
)
async def test_json_that_is_not_the_message_is_refused(doors, content):
    _, http = doors
    reply = await http.post(ENCODE, content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument"), reply.text


async def test_a_stream_is_for_grpc_only(doors):
    _, http = doors
    reply = await http.post("/munjang.v1.EmbeddingService/EncodeStream", json={})
    assert (reply.status_code, reply.json()["code"]) == (501, "unimplemented")


async def test_a_path_that_is_not_served_points_to_the_document(doors):
    _, http = doors
    reply = await http.get("/v2/embeddings")
    assert reply.status_code == 404
    assert "/openapi.json" in reply.json()["error"]["message"]
    assert (await http.get("/v1/embeddings")).status_code == 405
