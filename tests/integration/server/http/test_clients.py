"""Clients that others wrote, unmodified: they get the vectors of gRPC, and errors that help."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import httpx
import huggingface_hub.constants
import numpy as np
import openai
import pytest
import tiktoken
from huggingface_hub import InferenceClient

from tests.languages import there

pytestmark = [  # the clients close what they opened when they are collected, and say so
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

INTEROP = Path(__file__).parents[3] / "interop"


@pytest.fixture
def v1(doors):
    """The address of OpenAI's API."""
    return f"http://127.0.0.1:{doors[0].http_port}/v1"


@pytest.fixture
async def expected(doors, sentences, over_grpc):
    """The vectors of gRPC."""
    return await over_grpc(doors[0], sentences)


async def test_openai_gets_the_same_vectors_in_base64_and_as_numbers(v1, sentences, expected):
    async with openai.AsyncOpenAI(base_url=v1, api_key="mj_any", max_retries=0) as client:
        found = await client.embeddings.create(model="stable", input=sentences)
        assert np.array_equal(np.array([item.embedding for item in found.data], np.float32), expected)
        numbers = await client.embeddings.create(model="stable", input=sentences, encoding_format="float")
        assert np.array_equal(np.array([item.embedding for item in numbers.data], np.float32), expected)
        assert found.usage.total_tokens == sum(len(sentence) + 2 for sentence in sentences)
        assert [model.id async for model in client.models.list()] == ["stable", "1"]
        with pytest.raises(openai.NotFoundError) as missing:
            await client.embeddings.create(model="text-embedding-3-small", input="가")
        assert missing.value.code == "model_not_found"


async def test_a_name_that_is_wired_into_a_client_can_be_mapped(both_doors, sentences, over_grpc):
    async with both_doors(model_names="text-embedding-3-small=stable, *=1") as (server, _):
        base = f"http://127.0.0.1:{server.http_port}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="mj_any", max_retries=0) as client:
            expected = await over_grpc(server, sentences)
            for model in ("text-embedding-3-small", "anything", "stable", ""):
                found = await client.embeddings.create(model=model, input=sentences)
                assert np.array_equal(np.array([item.embedding for item in found.data], np.float32), expected)
                assert found.model == "1"


async def test_openai_waits_as_long_as_it_is_told(both_doors, tmp_path):
    from munjang_server.security.authentication import TokenAuthenticator, create_token  # noqa: PLC0415 - one test

    file = tmp_path / "tokens.toml"
    secret = create_token(file, "slow", admin=False, texts_per_second=1.0, tokens_per_second=0.0)
    async with both_doors(authenticator=TokenAuthenticator(str(file)), tokens_file=str(file)) as (server, _):
        base = f"http://127.0.0.1:{server.http_port}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key=secret, max_retries=0) as client:
            await client.embeddings.create(model="stable", input=["가"] * 11)
            with pytest.raises(openai.RateLimitError) as caught:
                await client.embeddings.create(model="stable", input="가")
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 2
        async with openai.AsyncOpenAI(base_url=base, api_key=secret, max_retries=2) as client:
            assert await client.embeddings.create(model="stable", input="가")
        async with openai.AsyncOpenAI(base_url=base, api_key="mj_other", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.embeddings.create(model="stable", input="가")


async def test_langchain_gets_the_vectors_of_grpc(v1, sentences, expected):
    from langchain_openai import OpenAIEmbeddings  # noqa: PLC0415 - slow to import

    client = OpenAIEmbeddings(base_url=v1, api_key="mj_any", model="stable", check_embedding_ctx_length=False)
    found = await client.aembed_documents(sentences)
    assert np.array_equal(np.array(found, np.float32), expected)
    assert np.array_equal(np.array(await client.aembed_query(sentences[0]), np.float32), expected[0])


async def test_langchain_that_sends_token_ids_is_told_what_to_set(v1, monkeypatch):
    from langchain_openai import OpenAIEmbeddings  # noqa: PLC0415 - slow to import

    ranks = {bytes([number]): number for number in range(256)}
    bytewise = tiktoken.Encoding("bytes", pat_str=r".", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda _: bytewise)  # the real one is fetched from the network
    client = OpenAIEmbeddings(base_url=v1, api_key="mj_any", model="stable")
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        await client.aembed_documents(["가나다"])


async def test_llama_index_gets_the_vectors_of_grpc(v1, sentences, expected):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # noqa: PLC0415 - slow to import

    client = OpenAILikeEmbedding(model_name="stable", api_base=v1, api_key="mj_any", max_retries=0)
    found = await asyncio.to_thread(client.get_text_embedding_batch, sentences)
    assert np.array_equal(np.array(found, np.float32), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of litellm's own imports
async def test_litellm_gets_the_vectors_of_grpc(v1, sentences, expected, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it fetches a list of prices
    import litellm  # noqa: PLC0415 - slow to import

    asked = {"model": "openai/stable", "input": sentences, "api_base": v1, "api_key": "mj_any"}
    found = await asyncio.to_thread(litellm.embedding, **asked, encoding_format="float")
    assert np.array_equal(np.array([item["embedding"] for item in found.data], np.float32), expected)


async def test_the_hub_client_speaks_to_the_tei_routes(doors, sentences, expected, over_grpc, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # it counts this machine as the network too
    server, http = doors
    base = str(http.base_url).rstrip("/")
    for address in (base, f"{base}/embed"):
        client = InferenceClient(model=address)
        found = await asyncio.to_thread(client.feature_extraction, sentences[0], normalize=True, truncate=True)
        assert np.array_equal(np.asarray(found, np.float32), expected[:1])
    query = await over_grpc(server, sentences[:1], prompt_name="query")
    found = await asyncio.to_thread(client.feature_extraction, sentences[0], prompt_name="query")
    assert np.array_equal(np.asarray(found, np.float32), query)
    client = InferenceClient(model=f"{base}/similarity")
    scores = await asyncio.to_thread(client.sentence_similarity, sentences[0], other_sentences=sentences)
    assert scores == pytest.approx((expected @ expected[0]).tolist(), abs=1e-6)


async def test_the_javascript_clients_get_the_vectors_of_grpc(v1, sentences, expected):
    node = there("node", needs=INTEROP / "node_modules")
    command = [node, INTEROP / "openai_client.mjs", v1, *sentences]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in ("base64", "floats", "langchain"):
        assert np.array_equal(np.array(found[name], np.float32), expected), name
    assert np.array_equal(np.array(found["question"], np.float32), expected[0])
    assert found["models"] == ["stable", "1"]
    assert (found["refusal"]["status"], found["refusal"]["param"]) == (400, "input")
    assert "checkEmbeddingCtxLength" in found["refusal"]["message"]


async def test_swaps_fail_no_call_and_mix_no_versions(doors, sentences):
    server, http = doors
    ended, seen = asyncio.Event(), []

    async def call(client):
        while not ended.is_set():
            reply = await client.post("/v1/embeddings", json={"input": sentences, "model": "stable"})
            vectors = np.array([item["embedding"] for item in reply.json()["data"]], np.float32)
            seen.append((reply.status_code, int(reply.headers["x-munjang-version"]), reply.json()["model"], vectors))

    async with httpx.AsyncClient(base_url=http.base_url, timeout=30) as client:
        callers = [asyncio.create_task(call(client)) for _ in range(8)]
        server.models.publish(2)
        for version in (2, 1) * 5:
            before = len(seen)
            server.models.promote(version)
            await server.swapped(version)
            await server.until(lambda: len(seen) > before + 8)  # noqa: B023 - awaited within the round
        ended.set()
        await asyncio.gather(*callers)
    own = {version: next(vectors for _, number, _, vectors in seen if number == version) for version in (1, 2)}
    assert {status for status, *_ in seen} == {200}
    assert all(np.array_equal(vectors, own[version]) and name == str(version) for _, version, name, vectors in seen)
    assert not np.array_equal(own[1], own[2])
