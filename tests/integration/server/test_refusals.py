"""What is refused, with which status, reason and field: the table of docs/errors.md, seen from outside."""

from __future__ import annotations

import grpc
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import model_service_pb2, resources_pb2

GOOD = ["좋은 문장"]
LIMITS = {"max_texts": 4, "max_text_chars": 300, "max_message_bytes": 4096, "max_scores": 3}
OPTIONS = resources_pb2.EncodeOptions


def encode(texts=GOOD, **options):
    return pb2.EncodeRequest(texts=texts, options=OPTIONS(**options))


ENCODE_REFUSALS = {
    "no texts": (encode([]), "NO_TEXTS", "texts"),
    "too many texts": (encode(GOOD * 5), "TOO_MANY_TEXTS", "texts"),
    "an empty text": (encode([*GOOD, ""]), "EMPTY_TEXT", "texts[1]"),
    "white space": (encode([*GOOD, *GOOD, " \t\n\u3000"]), "EMPTY_TEXT", "texts[2]"),
    "too many characters": (encode([*GOOD, "가" * 301]), "TEXT_TOO_LONG", "texts[1]"),
    "too many tokens": (encode(["가" * 200], truncation=2), "TEXT_TOO_LONG", "texts[0]"),
    "an unknown prompt": (encode(prompt_name="없는 것"), "UNKNOWN_PROMPT", "options.prompt_name"),
    "a prompt by name and by text": (encode(prompt_name="query", prompt=""), "INVALID_OPTION", "options.prompt"),
    "an unknown role": (encode(role=7), "INVALID_OPTION", "options.role"),
    "too long a prompt": (encode(prompt="가" * 301), "TEXT_TOO_LONG", "options.prompt"),
    "a text that is too long with its prompt": (encode(["가" * 200], prompt="가" * 101), "TEXT_TOO_LONG", "texts[0]"),
    "an unknown space": (encode(version="ab" * 16), "VERSION_NOT_FOUND", "options.version"),
    "an unknown precision": (encode(precision=99), "UNSUPPORTED_PRECISION", "options.precision"),
    "too many dimensions": (encode(dimensions=9), "UNSUPPORTED_DIMENSIONS", "options.dimensions"),
    "an unknown truncation": (encode(truncation=7), "INVALID_OPTION", "options.truncation"),
    "int8 unnormalised": (encode(precision=4, normalize=False), "INVALID_OPTION", "options.normalize"),
    "an unknown alias": (encode(version="없음"), "VERSION_NOT_FOUND", "options.version"),
    "an unknown number": (encode(version="77"), "VERSION_NOT_FOUND", "options.version"),
    "a number without end": (encode(version="9" * 2000), "VERSION_NOT_FOUND", "options.version"),
}


def similarity(queries=GOOD, **options):
    return pb2.SimilarityRequest(queries=queries, **options)


PAIRWISE, TOP_K = pb2.SIMILARITY_MODE_PAIRWISE, pb2.SIMILARITY_MODE_TOP_K
SIMILARITY_REFUSALS = {
    "no queries": (similarity([], candidates=GOOD), "NO_TEXTS", "queries"),
    "too many queries": (similarity(GOOD * 5), "TOO_MANY_TEXTS", "queries"),
    "too many of both": (similarity(GOOD, candidates=GOOD * 4, mode=PAIRWISE), "INVALID_OPTION", "candidates"),
    "too many scores": (similarity(GOOD * 2, candidates=GOOD * 2), "INVALID_OPTION", "candidates"),
    "too many scores of queries": (similarity(GOOD * 2), "INVALID_OPTION", "queries"),
    "an empty query": (similarity([""], candidates=GOOD), "EMPTY_TEXT", "queries[0]"),
    "an empty candidate": (similarity(candidates=[*GOOD, " "]), "EMPTY_TEXT", "candidates[1]"),
    "too long a candidate": (similarity(candidates=["가" * 301]), "TEXT_TOO_LONG", "candidates[0]"),
    "too many tokens": (similarity(candidates=[*GOOD, "가" * 200], truncation=2), "TEXT_TOO_LONG", "candidates[1]"),
    "poison in candidates": (similarity(candidates=[*GOOD, "독이 들었다"]), "ENCODE_FAILED", "candidates[1]"),
    "pairs of nothing": (similarity(mode=PAIRWISE), "NO_TEXTS", "candidates"),
    "uneven pairs": (similarity(candidates=GOOD * 2, mode=PAIRWISE), "INVALID_OPTION", "candidates"),
    "top_k of zero": (similarity(candidates=GOOD, mode=TOP_K), "INVALID_OPTION", "top_k"),
    "top_k elsewhere": (similarity(candidates=GOOD, top_k=3), "INVALID_OPTION", "top_k"),
    "an unknown mode": (similarity(mode=9), "INVALID_OPTION", "mode"),
    "an unknown truncation": (similarity(truncation=9), "INVALID_OPTION", "truncation"),
    "too many dimensions": (similarity(dimensions=9), "UNSUPPORTED_DIMENSIONS", "dimensions"),
    "an unknown version": (similarity(version="없음"), "VERSION_NOT_FOUND", "version"),
    "an unknown query prompt": (similarity(query_prompt_name="x"), "UNKNOWN_PROMPT", "query_prompt_name"),
    "an unknown candidate prompt": (
        similarity(candidates=GOOD, candidate_prompt_name="x"),
        "UNKNOWN_PROMPT",
        "candidate_prompt_name",
    ),
    "a query prompt by name and by text": (
        similarity(candidates=GOOD, query_prompt_name="query", query_prompt="질의: "),
        "INVALID_OPTION",
        "query_prompt",
    ),
    "an unknown candidate role": (similarity(candidates=GOOD, candidate_role=7), "INVALID_OPTION", "candidate_role"),
    "a role of no candidates": (similarity(candidate_role=2), "INVALID_OPTION", "candidate_role"),
    "a text of a prompt of no candidates": (similarity(candidate_prompt=""), "INVALID_OPTION", "candidate_prompt"),
    "a prompt of no candidates": (
        similarity(candidate_prompt_name="query"),
        "INVALID_OPTION",
        "candidate_prompt_name",
    ),
}
CODES = {"VERSION_NOT_FOUND": "NOT_FOUND", "ENCODE_FAILED": "INTERNAL"}


@pytest.fixture
async def strict(run_server):
    async with run_server(**LIMITS) as server:
        yield server


@pytest.mark.parametrize("case", ENCODE_REFUSALS)
async def test_encode_refuses(strict, failure, case):
    request, reason, field = ENCODE_REFUSALS[case]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await strict.embedding.Encode(request)
    seen = failure(caught.value)
    assert (seen.code, seen.reason, seen.field) == (CODES.get(reason, "INVALID_ARGUMENT"), reason, field)


@pytest.mark.parametrize("case", SIMILARITY_REFUSALS)
async def test_similarity_refuses(strict, failure, case):
    request, reason, field = SIMILARITY_REFUSALS[case]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await strict.embedding.Similarity(request)
    seen = failure(caught.value)
    assert (seen.code, seen.reason, seen.field) == (CODES.get(reason, "INVALID_ARGUMENT"), reason, field)


async def test_a_poisoned_text_fails_the_whole_call_where_no_partial_results_were_asked_for(strict, failure):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await strict.embedding.Encode(encode([*GOOD, "독이 든 문장"]))
    seen = failure(caught.value)
    assert (seen.code, seen.reason, seen.field) == ("INTERNAL", "ENCODE_FAILED", "texts[1]")


async def test_int8_without_a_calibration_is_refused(run_server, failure):
    async with run_server(encoder=FakeEncoder(ModelInfo(8, 128))) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(encode(precision=4))
    seen = failure(caught.value)
    assert (seen.reason, seen.field) == ("UNSUPPORTED_PRECISION", "options.precision")


async def test_a_version_that_failed_to_load_is_not_ready_and_says_where_to_ask(strict, failure):
    strict.models.refused[2] = RuntimeError("깨진 파일")
    strict.models.publish(2)
    strict.models.promote(2)
    assert await strict.loaded(2) is False
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await strict.embedding.Encode(encode(version="2"))
    seen = failure(caught.value)
    assert (seen.code, seen.reason, seen.field) == ("FAILED_PRECONDITION", "VERSION_NOT_READY", "options.version")
    described = await strict.listing.GetVersion(model_service_pb2.GetVersionRequest(version="2"))
    assert "깨진 파일" in described.version.reason
    reply = await strict.embedding.Encode(encode())
    assert reply.version == 1


async def test_a_server_without_a_version_says_that_it_comes(run_server, failure):
    async with run_server(first=0) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(encode())
        assert failure(caught.value).reason == "VERSION_NOT_FOUND"
        server.models.hold(1)
        server.models.publish(1)
        server.models.promote(1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(encode())
        server.models.let_go(1)
    seen = failure(caught.value)
    assert (seen.code, seen.reason) == ("UNAVAILABLE", "VERSION_NOT_READY")
    assert seen.retry_after


async def test_a_failed_call_brings_back_the_request_id_that_it_came_with(strict):
    call = strict.embedding.Encode(encode([]), metadata=(("x-request-id", "order-7:42"),))
    assert dict(await call.trailing_metadata())["x-request-id"] == "order-7:42"


@pytest.mark.parametrize("given", [None, "two words", "a" * 129, ""])
async def test_a_call_without_a_usable_request_id_gets_one(strict, given):
    call = strict.embedding.Encode(encode(), metadata=() if given is None else (("x-request-id", given),))
    made = dict(await call.trailing_metadata())["x-request-id"]
    assert len(made) == 16
    assert made != given
