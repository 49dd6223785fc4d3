"""OpenAI's dialect, from outside."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.v1 import resources_pb2

EMBEDDINGS = "/v1/embeddings"


async def test_vectors_in_base64_are_those_of_grpc_to_the_bit(doors, sentences, unpack, over_grpc):
    server, http = doors
    asked = {"input": sentences, "model": "stable", "encoding_format": "base64"}
    reply = await http.post(EMBEDDINGS, json=asked)
    assert reply.status_code == 200, reply.text
    assert np.array_equal(unpack(reply), await over_grpc(server, sentences))


async def test_vectors_as_numbers_are_those_of_grpc_to_the_last_digit(doors, sentences, over_grpc):
    server, http = doors
    reply = await http.post(EMBEDDINGS, json={"input": sentences, "model": "stable"})
    vectors = np.array([item["embedding"] for item in reply.json()["data"]], np.float32)
    assert np.array_equal(vectors, await over_grpc(server, sentences))


async def test_a_reply_says_which_version_answered_and_counts_tokens(doors, sentences):
    _, http = doors
    reply = await http.post(EMBEDDINGS, json={"input": sentences[0], "model": "stable"})
    tokens = len(sentences[0]) + 2
    body = reply.json()
    assert (body["object"], body["model"], len(body["data"])) == ("list", "1", 1)
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert reply.headers["x-munjang-version"] == "1"
    assert reply.headers["x-request-id"]


async def test_fewer_dimensions_are_those_of_grpc(doors, sentences, unpack, over_grpc):
    server, http = doors
    asked = {"input": sentences, "dimensions": 4, "encoding_format": "base64"}
    assert np.array_equal(
        unpack(await http.post(EMBEDDINGS, json=asked)), await over_grpc(server, sentences, dimensions=4)
    )


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
async def test_token_ids_are_refused_with_the_cure(doors, ids):
    _, http = doors
    reply = await http.post(EMBEDDINGS, json={"input": ids, "model": "stable"})
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["param"]) == (400, "invalid_request_error", "input")
    assert "check_embedding_ctx_length=False" in error["message"]


async def test_the_models_are_listed_and_shown(doors):
    _, http = doors
    listed = (await http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["stable", "1"]
    shown = await http.get("/v1/models/stable")
    assert (shown.json()["id"], shown.json()["version"], shown.json()["dimensions"]) == ("stable", 1, 8)
    missing = await http.get("/v1/models/없음")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("asked", "role"),
    [
        ({"model": "stable-query"}, "ROLE_QUERY"),
        ({"model": "stable-passage"}, "ROLE_DOCUMENT"),
        ({"input_type": "search_query"}, "ROLE_QUERY"),
        ({"input_type": "passage", "model": "stable"}, "ROLE_DOCUMENT"),
        ({"input_type": "query", "model": "1-query"}, "ROLE_QUERY"),
    ],
)
async def test_a_role_is_that_of_the_contract(doors, sentences, unpack, over_grpc, asked, role):
    server, http = doors
    reply = await http.post(EMBEDDINGS, json={"input": sentences, "encoding_format": "base64"} | asked)
    expected = await over_grpc(server, sentences, role=getattr(resources_pb2, role))
    assert np.array_equal(unpack(reply), expected)
    assert not np.array_equal(expected, await over_grpc(server, sentences))


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input_type": "clustering"}, "input_type"),
        ({"input_type": "passage", "model": "stable-query"}, "input_type"),
        ({"unknown": True}, "unknown"),
        ({"dimensions": 9}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"input": ["가", ""]}, "input[1]"),
        ({"input": []}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"input": "가" * 500, "truncate": "NONE"}, "input[0]"),
    ],
)
async def test_a_refusal_names_the_field_as_it_is_called_here(doors, asked, param):
    _, http = doors
    reply = await http.post(EMBEDDINGS, json={"input": "가"} | asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
