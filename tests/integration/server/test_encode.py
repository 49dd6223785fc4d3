"""Encode over real gRPC: what comes back for which text and option."""

from __future__ import annotations

import unicodedata

import grpc
import numpy as np
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import error_reason_pb2, resources_pb2
from munjang.vectors import Precision, unpack

SPACE = "5a" * 16
"""Of every version here, see `conftest.manifest`."""

TEXTS = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다.", "한국어와 English 그리고 😀"]


def expected(texts, *, prompt="", seed=1):
    encoder = FakeEncoder(seed=seed)
    rows = encoder.forward(FakeEncoder().tokenize([prompt + text for text in texts]))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows(reply, precision=Precision.FLOAT32):
    vectors = reply.vectors
    return unpack(vectors.data, vectors.count, vectors.dimensions, precision)


async def test_each_text_gets_its_own_unit_vector_in_the_order_of_the_request(server):
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS))
    np.testing.assert_allclose(rows(reply), expected(TEXTS), rtol=1e-6)
    assert reply.version == 1
    assert reply.vectors.precision == resources_pb2.PRECISION_FLOAT32
    assert list(reply.token_counts) == [len(text) + 2 for text in TEXTS]
    assert not reply.truncated
    assert not reply.errors


async def test_a_batch_gives_the_same_vectors_as_its_texts_one_by_one(server):
    together = rows(await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS)))
    for index, text in enumerate(TEXTS):
        alone = rows(await server.embedding.Encode(pb2.EncodeRequest(texts=[text])))
        np.testing.assert_array_equal(alone[0], together[index])


async def test_decomposed_hangul_gives_the_vector_of_composed_hangul(server):
    composed, decomposed = (unicodedata.normalize(form, TEXTS[0]) for form in ("NFC", "NFD"))
    assert composed != decomposed
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=[composed, decomposed]))
    first, second = rows(reply)
    np.testing.assert_array_equal(first, second)


async def test_the_prompt_is_put_before_each_text(server):
    options = resources_pb2.EncodeOptions(prompt_name="query")
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
    np.testing.assert_allclose(rows(reply), expected(TEXTS, prompt="질문: "), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"role": resources_pb2.ROLE_QUERY}, "질문: "),
        ({"role": resources_pb2.ROLE_DOCUMENT}, "문서: "),
        ({"role": resources_pb2.ROLE_QUERY, "prompt_name": "passage"}, "문서: "),
        ({"role": resources_pb2.ROLE_QUERY, "prompt": "찾기: "}, "찾기: "),
        ({"role": resources_pb2.ROLE_QUERY, "prompt": ""}, ""),
        ({"prompt": unicodedata.normalize("NFD", "찾기: ")}, "찾기: "),
    ],
)
async def test_a_role_or_the_text_of_a_prompt_chooses_the_words(server, options, prompt):
    request = pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(**options))
    reply = await server.embedding.Encode(request)
    np.testing.assert_allclose(rows(reply), expected(TEXTS, prompt=prompt), rtol=1e-6)


async def test_a_role_without_a_prompt_has_none_and_an_empty_prompt_undoes_the_default(run_server):
    encoder = FakeEncoder(ModelInfo(8, 128, prompts={"기본": "기본: "}, default_prompt="기본"), seed=1)
    async with run_server(encoder=encoder) as server:
        for options, prompt in (({}, "기본: "), ({"role": 1}, ""), ({"role": 2}, ""), ({"prompt": ""}, "")):
            request = pb2.EncodeRequest(texts=TEXTS, options=resources_pb2.EncodeOptions(**options))
            reply = await server.embedding.Encode(request)
            np.testing.assert_allclose(rows(reply), expected(TEXTS, prompt=prompt), rtol=1e-6)


async def test_a_routed_model_keeps_the_route_of_the_role_whatever_the_prompt(run_server):
    encoder = FakeEncoder(ModelInfo(8, 128, prompts={"query": "질문: "}), seed=1, routed=True)
    found = set()
    async with run_server(encoder=encoder, embedding_cache_mb=8) as server:
        for options in ({}, {"role": 1}, {"role": 2}, {"role": 1, "prompt": ""}, {"role": 2, "prompt": "질문: "}):
            request = pb2.EncodeRequest(texts=TEXTS[:1], options=resources_pb2.EncodeOptions(**options))
            found.add(rows(await server.embedding.Encode(request)).tobytes())
    assert len(found) == 5


async def test_a_prompt_before_many_texts_counts_as_if_it_were_written_before_each(run_server, failure):
    async with run_server(max_message_bytes=1000) as server:
        request = pb2.EncodeRequest(texts=["가"] * 4, options=resources_pb2.EncodeOptions(prompt="나" * 251))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.embedding.Encode(request)
    assert (failure(caught.value).reason, failure(caught.value).field) == ("MESSAGE_TOO_LARGE", "options.prompt")


@pytest.mark.parametrize("version", ["", "1", SPACE])
async def test_the_reply_names_version_and_space_and_a_call_can_pin_either(server, version):
    options = resources_pb2.EncodeOptions(version=version)
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
    assert (reply.version, reply.space_id) == (1, SPACE)


async def test_normalize_false_gives_the_models_own_vectors(server):
    options = resources_pb2.EncodeOptions(normalize=False)
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
    raw = FakeEncoder(seed=1).forward(FakeEncoder().tokenize(TEXTS))
    np.testing.assert_array_equal(rows(reply), raw)


async def test_fewer_dimensions_are_the_first_ones_normalised_again(server):
    options = resources_pb2.EncodeOptions(dimensions=3)
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
    cut = expected(TEXTS)[:, :3]
    assert reply.vectors.dimensions == 3
    np.testing.assert_allclose(rows(reply), cut / np.linalg.norm(cut, axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("precision", list(Precision))
async def test_every_precision_comes_as_packed_rows_that_say_what_they_are(server, precision):
    number = resources_pb2.Precision.Value(f"PRECISION_{precision.name}")
    options = resources_pb2.EncodeOptions(precision=number)
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
    values = rows(reply, precision).astype(np.float32)
    assert reply.vectors.precision == number
    assert (reply.vectors.scale > 0) == (precision is Precision.INT8)
    exact = expected(TEXTS)
    if precision is Precision.UBINARY:
        np.testing.assert_array_equal(rows(reply, precision), np.packbits(exact > 0, axis=-1))
    else:
        np.testing.assert_allclose(values * (reply.vectors.scale or 1), exact, atol=0.01)


async def test_a_text_longer_than_the_model_reads_is_cut_and_named(server):
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=["짧다", "긴 글 " * 200, "또 짧다"]))
    assert list(reply.truncated) == [1]
    assert reply.token_counts[1] == 128


async def test_a_text_of_a_hundred_thousand_characters_is_served(server):
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=["가나다라마" * 20_000]))
    assert list(reply.truncated) == [0]
    assert reply.vectors.count == 1


async def test_a_large_batch_goes_through_threads_and_comes_back_whole(run_server):
    async with run_server(inline_chars=0, max_texts=5000) as server:
        texts = [f"문장 번호 {number}" for number in range(5000)]
        reply = await server.embedding.Encode(pb2.EncodeRequest(texts=texts), timeout=60)
    np.testing.assert_allclose(rows(reply), expected(texts), rtol=1e-5)


async def test_partial_results_answer_the_good_texts_and_say_why_not_the_others(server):
    texts = ["좋은 문장", "", "독이 든 문장", "또 좋은 문장", " \n"]
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=texts, partial_results=True))
    reasons = {error.index: error_reason_pb2.ErrorReason.Name(error.reason) for error in reply.errors}
    assert reasons == {
        1: "ERROR_REASON_EMPTY_TEXT",
        2: "ERROR_REASON_ENCODE_FAILED",
        4: "ERROR_REASON_EMPTY_TEXT",
    }
    got = rows(reply)
    np.testing.assert_allclose(got[[0, 3]], expected([texts[0], texts[3]]), rtol=1e-6)
    assert not got[[1, 2, 4]].any()
    assert [reply.token_counts[index] for index in (1, 4)] == [0, 0]


async def test_partial_results_of_texts_that_are_all_refused_are_rows_of_zeros(server):
    reply = await server.embedding.Encode(pb2.EncodeRequest(texts=["", " "], partial_results=True))
    assert [error.index for error in reply.errors] == [0, 1]
    assert reply.vectors.count == 2
    assert not rows(reply).any()


async def test_partial_results_under_no_truncation_refuse_the_long_text_alone(server):
    options = resources_pb2.EncodeOptions(truncation=resources_pb2.TRUNCATION_NONE)
    request = pb2.EncodeRequest(texts=["긴 글 " * 200, "짧다"], options=options, partial_results=True)
    reply = await server.embedding.Encode(request)
    assert [(error.index, error.reason) for error in reply.errors] == [(0, error_reason_pb2.ERROR_REASON_TEXT_TOO_LONG)]
    np.testing.assert_allclose(rows(reply)[1:], expected(["짧다"]), rtol=1e-6)


async def test_a_pinned_version_answers_after_the_alias_has_moved(server):
    server.models.publish(2)
    server.models.promote(2)
    await server.swapped(2)
    for name, version in {"": 2, "stable": 2, "2": 2, "1": 1}.items():
        options = resources_pb2.EncodeOptions(version=name)
        reply = await server.embedding.Encode(pb2.EncodeRequest(texts=TEXTS, options=options))
        assert reply.version == version
        np.testing.assert_allclose(rows(reply), expected(TEXTS, seed=version), rtol=1e-6)
