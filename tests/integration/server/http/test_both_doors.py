"""One table of refusals over both doors: the same reason, and what each door makes of it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2

from munjang.v1 import embedding_service_pb2, model_service_pb2
from munjang_server.security.authentication import TokenAuthenticator, create_token

ENCODE = "/munjang.v1.EmbeddingService/Encode"
PROMOTE = "/munjang.v1.ModelService/PromoteVersion"
REQUESTS = {ENCODE: embedding_service_pb2.EncodeRequest, PROMOTE: model_service_pb2.PromoteVersionRequest}
ONE = {"texts": ["하나"]}


@dataclass
class Refusal:
    """What a caller of either door learns."""

    reason: str
    field: str
    message: str
    retry: bool


async def over_grpc(server, failure, path, body, token):
    request = REQUESTS[path](**body)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.channel.unary_unary(path)(request.SerializeToString(), metadata=metadata)
    seen = failure(caught.value)
    return seen.code, Refusal(seen.reason, seen.field, seen.message, seen.retry_after is not None)


async def over_http(http, path, body, token):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    reply = await http.post(path, json=body, headers=headers)
    error = reply.json()
    found = {each["type"]: base64.b64decode(each["value"] + "==") for each in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(found["google.rpc.ErrorInfo"])
    bad = error_details_pb2.BadRequest.FromString(found.get("google.rpc.BadRequest", b"")).field_violations
    field = bad[0].field if bad else ""
    refusal = Refusal(info.reason, field, error["message"], "google.rpc.RetryInfo" in found)
    assert refusal.retry == ("retry-after" in reply.headers)
    return error["code"].upper(), reply.status_code, refusal


@pytest.fixture
def tokens(tmp_path):
    """A token file, and its tokens by name."""
    path = tmp_path / "tokens.toml"
    rates = {"search": 0.0, "slow": 1e-6, "admin": 0.0}
    made = {
        name: create_token(path, name, admin=name == "admin", texts_per_second=rate, tokens_per_second=0.0)
        for name, rate in rates.items()
    }
    return path, made


TABLE = {
    "no token": (ENCODE, ONE, "", 401, "UNAUTHENTICATED"),
    "an unknown token": (ENCODE, ONE, "mj_nobody", 401, "UNAUTHENTICATED"),
    "no permission": (PROMOTE, {"version": 1}, "search", 403, "PERMISSION_DENIED"),
    "over the rate": (ENCODE, ONE, "slow", 429, "RATE_LIMITED"),
    "no texts": (ENCODE, {"texts": []}, "search", 400, "NO_TEXTS"),
    "too many texts": (ENCODE, {"texts": ["가"] * 5}, "search", 400, "TOO_MANY_TEXTS"),
    "an empty text": (ENCODE, {"texts": ["가", " "]}, "search", 400, "EMPTY_TEXT"),
    "a long text": (ENCODE, {"texts": ["가" * 201]}, "search", 400, "TEXT_TOO_LONG"),
    "an unknown version": (ENCODE, ONE | {"options": {"version": "없음"}}, "search", 404, "VERSION_NOT_FOUND"),
    "too many dimensions": (
        ENCODE,
        ONE | {"options": {"dimensions": 9}},
        "search",
        400,
        "UNSUPPORTED_DIMENSIONS",
    ),
    "an unknown prompt": (ENCODE, ONE | {"options": {"prompt_name": "x"}}, "search", 400, "UNKNOWN_PROMPT"),
}


@pytest.mark.parametrize("name", TABLE)
async def test_both_doors_refuse_the_same_for_the_same_reason(both_doors, failure, fake_aliases, tokens, name):
    path, body, token, status, reason = TABLE[name]
    file, made = tokens
    settings = {"max_texts": 4, "max_text_chars": 200, "tokens_file": str(file)}
    async with both_doors(authenticator=TokenAuthenticator(str(file)), admin=fake_aliases, **settings) as (
        server,
        http,
    ):
        secret = made.get(token, token)
        if token == "slow":
            await http.post(path, json=body, headers={"authorization": f"Bearer {secret}"})
        code, by_grpc = await over_grpc(server, failure, path, body, secret)
        same_code, by_status, by_http = await over_http(http, path, body, secret)
    digits = re.compile(r"\d+(\.\d+)?")
    by_grpc.message, by_http.message = digits.sub("N", by_grpc.message), digits.sub("N", by_http.message)
    assert by_http == by_grpc
    assert (by_http.reason, same_code, by_status) == (reason, code, status)


async def test_what_will_not_be_in_time_is_refused_by_both_doors(both_doors, failure):
    async with both_doors() as (server, http):
        server.encoder.gate.clear()
        waiting = server.embedding.Encode(embedding_service_pb2.EncodeRequest(**ONE), timeout=30)
        await server.until(lambda: server.metric("munjang_server_running_tokens") > 0)
        reply = await http.post(ENCODE, json=ONE, headers={"x-request-timeout": "0.05"})
        assert reply.json()["code"] in {"deadline_exceeded", "resource_exhausted"}
        reply = await http.post("/v1/embeddings", json={"input": "가"}, headers={"connect-timeout-ms": "50"})
        assert reply.status_code in {429, 504}
        server.encoder.gate.set()
        assert (await waiting).version == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "곧".encode().decode("latin1"), "1e9"])
async def test_a_deadline_that_is_none_is_refused(doors, wrong):
    _, http = doors
    reply = await http.post(ENCODE, json=ONE, headers={"x-request-timeout": wrong.encode("latin1")})
    assert reply.status_code == 400
    assert "x-request-timeout" in reply.json()["message"]


async def test_a_call_is_counted_for_its_door_and_keeps_its_id(doors):
    server, http = doors
    reply = await http.post("/v1/embeddings", json={"input": "가"}, headers={"x-request-id": "찾기-1".encode()})
    assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["x-request-id"])
    reply = await http.post("/v1/embeddings", json={"input": "가"}, headers={"x-request-id": "search-1"})
    assert reply.headers["x-request-id"] == "search-1"
    counted = {"rpc": "Encode", "code": "OK"}
    assert server.metric("munjang_server_requests_total", door="http", **counted) == 2
    assert server.metric("munjang_server_requests_total", door="grpc", **counted) == 0
    assert server.metric("munjang_server_texts_total", rpc="Encode", version="1", lane="interactive") == 2


async def test_a_caller_has_one_rate_for_both_doors(both_doors, tmp_path):
    file = tmp_path / "tokens.toml"
    secret = create_token(file, "search", admin=False, texts_per_second=0.2, tokens_per_second=0.0)
    bearer = {"authorization": f"Bearer {secret}"}
    async with both_doors(authenticator=TokenAuthenticator(str(file)), tokens_file=str(file)) as (server, http):
        request = embedding_service_pb2.EncodeRequest(texts=["하나", "둘"])
        await server.embedding.Encode(request, metadata=list(bearer.items()))
        reply = await http.post("/v1/embeddings", json={"input": "셋"}, headers=bearer)
        assert reply.status_code == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"


async def test_both_doors_share_the_cache(both_doors, sentences, over_grpc):
    async with both_doors(embedding_cache_mb=1) as (server, http):
        expected = await over_grpc(server, sentences)
        batches = len(server.encoder.batches)
        reply = await http.post("/v1/embeddings", json={"input": sentences})
        assert len(server.encoder.batches) == batches
        assert np.array_equal(np.array([each["embedding"] for each in reply.json()["data"]], np.float32), expected)
