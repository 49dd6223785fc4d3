"""Whatever is sent, the server answers in time with a status of its table, shows no internals, and lives on."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from munjang.v1 import embedding_service_pb2 as pb2
from munjang.v1 import model_service_pb2, resources_pb2

LIMITS = {"max_texts": 8, "max_text_chars": 200, "max_message_bytes": 5000, "max_scores": 30}
KNOWN = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
}
METHODS = {
    "/munjang.v1.EmbeddingService/Encode": pb2.EncodeRequest,
    "/munjang.v1.EmbeddingService/Similarity": pb2.SimilarityRequest,
    "/munjang.v1.ModelService/ListVersions": model_service_pb2.ListVersionsRequest,
    "/munjang.v1.ModelService/GetVersion": model_service_pb2.GetVersionRequest,
}

no_poison = st.text(st.characters(codec="utf-8")).filter(lambda text: not text.startswith("독"))
korean = st.text("가나다라마바사아자차카타파하 .!?😀\u1112\u1161\u11ab\u200b\x00", max_size=40)
texts = st.lists(st.one_of(korean, no_poison), max_size=10)
small = st.integers(0, 12)
names = st.one_of(
    st.sampled_from(["", "stable", "1", "query", "passage"]), st.text(st.characters(codec="utf-8"), max_size=9)
)
encode_requests = st.builds(
    pb2.EncodeRequest,
    texts=texts,
    partial_results=st.booleans(),
    options=st.builds(
        resources_pb2.EncodeOptions,
        version=names,
        prompt_name=names,
        normalize=st.one_of(st.none(), st.booleans()),
        dimensions=small,
        precision=small,
        truncation=small,
    ),
)
similarity_requests = st.builds(
    pb2.SimilarityRequest,
    queries=texts,
    candidates=texts,
    mode=small,
    top_k=small,
    version=names,
    query_prompt_name=names,
    candidate_prompt_name=names,
    dimensions=small,
    truncation=small,
)
bent = st.one_of(encode_requests, similarity_requests).flatmap(
    lambda message: st.builds(
        lambda place, junk: bend(message.SerializeToString(), place, junk), st.floats(0, 1), st.binary(max_size=4)
    )
)
frames = st.one_of(st.binary(max_size=200), bent, st.binary(min_size=4990, max_size=5010))


def bend(raw, place, junk):
    """The bytes with junk written over a place in them."""
    start = int(place * len(raw))
    return raw[:start] + junk + raw[start + len(junk) :]


def check(error):
    assert error.code().name in KNOWN, f"{error.code()}: {error.details()}"
    assert "Traceback" not in error.details()
    assert "internal error" not in error.details()


async def ask(server):
    return await server.embedding.Encode(pb2.EncodeRequest(texts=["아직 산다"]), timeout=15)


@pytest.fixture
def fuzz(run_server):
    """Run an asynchronous check against one server, again and again from hypothesis' synchronous test."""
    with asyncio.Runner() as runner:
        context = run_server(**LIMITS)
        server = runner.run(context.__aenter__())
        try:
            yield lambda work: runner.run(asyncio.wait_for(work(server), 20))
            reply = runner.run(ask(server))
            assert reply.version == 1
            assert server.metric("munjang_server_errors_total", door="grpc", rpc="Encode", reason="INTERNAL") == 0
            assert server.metric("munjang_server_errors_total", door="grpc", rpc="Similarity", reason="INTERNAL") == 0
            assert server.metric("munjang_server_errors_total", door="grpc", rpc="EncodeStream", reason="INTERNAL") == 0
        finally:
            runner.run(context.__aexit__(None, None, None))


bounded = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@bounded
@given(message=st.one_of(encode_requests, similarity_requests))
def test_every_request_is_answered_or_refused(fuzz, message):
    async def work(server):
        method = "Encode" if isinstance(message, pb2.EncodeRequest) else "Similarity"
        try:
            reply = await server.raw(method)(message.SerializeToString(), timeout=15)
        except grpc.aio.AioRpcError as error:
            check(error)
        else:
            if method == "Encode":
                assert pb2.EncodeResponse.FromString(reply).vectors.count == len(message.texts)
            else:
                assert pb2.SimilarityResponse.FromString(reply).version == 1

    fuzz(work)


@bounded
@given(method=st.sampled_from(sorted(METHODS)), raw=frames)
def test_every_frame_is_answered_or_refused(fuzz, method, raw):
    async def work(server):
        try:
            await server.channel.unary_unary(method)(raw, timeout=15)
        except grpc.aio.AioRpcError as error:
            check(error)

    fuzz(work)


@settings(bounded, max_examples=50)
@given(raws=st.lists(st.one_of(frames, encode_requests.map(lambda each: each.SerializeToString())), max_size=20))
def test_every_message_of_a_stream_has_its_answer(fuzz, raws):
    async def work(server):
        call = server.channel.stream_stream("/munjang.v1.EmbeddingService/EncodeStream")(iter(raws), timeout=15)
        answers = [pb2.EncodeStreamResponse.FromString(raw) async for raw in call]
        assert len(answers) == len(raws)
        assert all(answer.WhichOneof("outcome") for answer in answers)

    fuzz(work)


@settings(bounded, max_examples=50)
@given(
    metadata=st.lists(
        st.tuples(
            st.sampled_from(["x-request-id", "traceparent", "authorization", "x-request-id-bin", "grpc-timeout-x"]),
            st.one_of(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300), st.binary()),
        ),
        max_size=4,
    )
)
def test_odd_metadata_does_not_hurt(fuzz, metadata):
    pairs = [
        (key, value if key.endswith("-bin") else value.decode("ascii", "replace").replace("\ufffd", "?"))
        if isinstance(value, bytes)
        else (key, value.encode() if key.endswith("-bin") else value)
        for key, value in metadata
    ]
    pairs = [(key, value) for key, value in pairs if isinstance(value, bytes) or value.isprintable()]

    async def work(server):
        try:
            await server.embedding.Encode(pb2.EncodeRequest(texts=["문장"]), metadata=pairs, timeout=15)
        except grpc.aio.AioRpcError as error:
            check(error)

    fuzz(work)
