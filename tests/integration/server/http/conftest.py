"""A server with both doors, and an HTTP client of it."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from munjang.v1 import embedding_service_pb2 as pb2
from tests.ports import free_port

SENTENCES = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 바이올린을 연주하고 있다.", "뭐라카노 ㅋㅋ 😀"]


@pytest.fixture
def both_doors(run_server):
    """Start a server with both doors and settings of one's own: it, and a client of its HTTP door."""

    @asynccontextmanager
    async def start(headers=None, **settings):
        settings = {"http_port": free_port()} | settings
        async with (
            run_server(**settings) as server,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.http_port}", timeout=30, headers=headers) as client,
        ):
            yield server, client

    return start


@pytest.fixture
async def doors(both_doors):
    """A server with version 1 behind `stable`, and a client of its HTTP door."""
    async with both_doors() as found:
        yield found


@pytest.fixture
def sentences():
    return SENTENCES


@pytest.fixture
def unpack():
    """The vectors of an OpenAI reply in base64, float32 [n, d]."""
    return lambda reply: np.stack(
        [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in reply.json()["data"]]
    )


@pytest.fixture
def over_grpc():
    """The vectors that gRPC gives, float32 [n, d]."""

    async def encode(server, texts, **options):
        request = pb2.EncodeRequest(texts=texts)
        for name, value in options.items():
            setattr(request.options, name, value)
        vectors = (await server.embedding.Encode(request)).vectors
        return np.frombuffer(vectors.data, "<f4").reshape(vectors.count, vectors.dimensions)

    return encode
