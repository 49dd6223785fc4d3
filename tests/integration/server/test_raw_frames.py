"""Bytes that are no proper message: each gets a clear refusal, and the server goes on."""

from __future__ import annotations

import grpc
import pytest

from munjang.v1 import embedding_service_pb2 as pb2

GOOD = pb2.EncodeRequest(texts=["좋은 문장", "나쁜 문장"])
IN_CP949 = GOOD.SerializeToString().replace("나쁜 문장".encode(), b"\xb3\xaa\xbb\xdb \xb9\xae\xc0\xe5xxxx")
"""The second text as a Windows program of old would send it, filled up to the same length."""


async def refusal(server, failure, method, raw):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.raw(method)(raw)
    return failure(caught.value)


@pytest.mark.parametrize("method", ["Encode", "Similarity"])
@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x7f", GOOD.SerializeToString()[:-3]])
async def test_bytes_that_are_no_message_are_malformed(server, failure, method, raw):
    seen = await refusal(server, failure, method, raw)
    assert (seen.code, seen.reason, seen.field) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE", "")


async def test_no_bytes_are_a_request_without_texts(server, failure):
    assert (await refusal(server, failure, "Encode", b"")).reason == "NO_TEXTS"


async def test_a_message_over_the_limit_is_refused_before_it_is_parsed(run_server, failure):
    async with run_server(max_message_bytes=1000) as server:
        seen = await refusal(server, failure, "Encode", b"\xff" * 1001)
        assert (seen.code, seen.reason) == ("INVALID_ARGUMENT", "MESSAGE_TOO_LARGE")
        assert "1001" in seen.message
        assert await server.raw("Encode")(GOOD.SerializeToString())


async def test_a_message_far_over_the_limit_is_refused_by_the_transport(run_server):
    async with run_server(max_message_bytes=1000) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.raw("Encode")(b"\xff" * 1_000_000)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await server.raw("Encode")(GOOD.SerializeToString())


async def test_a_text_that_is_not_utf8_is_named(server, failure):
    seen = await refusal(server, failure, "Encode", IN_CP949)
    assert (seen.code, seen.reason, seen.field) == ("INVALID_ARGUMENT", "INVALID_TEXT", "texts[1]")


async def test_a_candidate_that_is_not_utf8_is_named(server, failure):
    request = pb2.SimilarityRequest(queries=["가"], candidates=["나", "다라"]).SerializeToString()
    seen = await refusal(server, failure, "Similarity", request.replace("다라".encode(), b"\xb4\xd9\xb6\xf3xx"))
    assert (seen.reason, seen.field) == ("INVALID_TEXT", "candidates[1]")


async def test_an_option_that_is_not_utf8_is_named(server, failure):
    request = pb2.EncodeRequest(texts=["가"], options={"prompt_name": "질"}).SerializeToString()
    seen = await refusal(server, failure, "Encode", request.replace("질".encode(), b"\xc1\xfa\xff"))
    assert (seen.reason, seen.field) == ("INVALID_TEXT", "options.prompt_name")


async def test_partial_results_answer_the_texts_that_are_utf8(server):
    raw = IN_CP949 + pb2.EncodeRequest(partial_results=True).SerializeToString()
    reply = pb2.EncodeResponse.FromString(await server.raw("Encode")(raw))
    [error] = reply.errors
    assert error.index == 1
    assert "UTF-8" in error.message
    assert reply.vectors.count == 2
    assert list(reply.token_counts) == [7, 0]


async def test_an_unknown_method_is_unimplemented(server):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.raw("Decode")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_fields_of_a_newer_client_are_passed_over(server):
    assert await server.raw("Encode")(GOOD.SerializeToString() + b"\xf8\x07\x01")
