"""The client of all servers: callers that each wait for their answer, in a process of its own.

    python -m tests.bench.speed.client < JOB.json

It prints what `munjang bench` would, and the processor time that the client itself took. Every protocol ends in a
float32 array, and every server is spoken to in its fastest form.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import numpy as np

from munjang.cli.load_generator import Load, batches
from munjang.cli.load_report import summarise
from munjang.client import AsyncClient, RetryPolicy

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 300.0


class Speaker(Protocol):
    """One protocol."""

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """float32 [n, d]."""


class Munjang:
    """Our own client."""

    def __init__(self, port: int) -> None:
        self._client = AsyncClient(f"127.0.0.1:{port}", retry=RetryPolicy(attempts=1), batch_size=1024, timeout=LONGEST)

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        return (await self._client.encode(texts)).vectors


class GrpcBytes:
    """The simple batcher's protocol."""

    def __init__(self, port: int) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._call = self._channel.unary_unary("/bench.Embed/Encode")

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        data = await self._call(json.dumps(texts, ensure_ascii=False).encode(), timeout=LONGEST)
        return np.frombuffer(data, "<f4").reshape(len(texts), -1)


@dataclass
class Http:
    """HTTP/1.1 with connections kept alive, no more than it takes: a library would cost the client more."""

    port: int
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer.

        Raises:
            OSError: the server does not answer with status 200.
        """
        connection = (
            self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)
        )
        reader, writer = connection
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        writer.write(f"{head}\r\n\r\n".encode() + body)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        data = await reader.readexactly(length)
        if " 200" not in status:
            msg = f"{status}: {data[:200]!r}"
            raise OSError(msg)
        self.free.append(connection)
        return data


class Infinity(Http):
    """Infinity's OpenAI form, vectors in base64."""

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        body = {"model": "m", "input": texts, "encoding_format": "base64"}
        data = json.loads(await self.post("/embeddings", json.dumps(body, ensure_ascii=False).encode()))["data"]
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in data])


class OpenAI(Http):
    """Our own HTTP door in OpenAI's form, vectors in base64."""

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        body = {"model": "stable", "input": texts, "encoding_format": "base64"}
        raw = await self.post("/v1/embeddings", json.dumps(body, ensure_ascii=False).encode())
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in json.loads(raw)["data"]])


class Mosec(Http):
    """JSON there, bytes back."""

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        data = await self.post("/inference", json.dumps(texts, ensure_ascii=False).encode())
        return np.frombuffer(data, "<f4").reshape(len(texts), -1)


class LitServe(Http):
    """JSON there, base64 in JSON back."""

    async def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """See `Speaker`."""
        data = await self.post("/predict", json.dumps({"texts": texts}, ensure_ascii=False).encode())
        return np.frombuffer(base64.b64decode(json.loads(data)["vectors"]), "<f4").reshape(len(texts), -1)


SPEAKERS: dict[str, type[Any]] = {
    "munjang": Munjang,
    "grpc": GrpcBytes,
    "infinity": Infinity,
    "openai": OpenAI,
    "mosec": Mosec,
    "litserve": LitServe,
}


@dataclass(frozen=True)
class Answer:
    """What `Load` looks at."""

    token_counts: NDArray[np.int64]
    version: int = 0


class Caller:
    """A speaker in the form that `Load` calls."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    async def encode(self, texts: list[str]) -> Answer:
        """Ask, and take the vectors."""
        rows = await self._speaker.vectors(texts)
        if len(rows) != len(texts):
            msg = f"{len(rows)} vectors for {len(texts)} texts"
            raise ValueError(msg)
        return Answer(np.zeros(len(rows), np.int64))


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """One closed loop: a job names protocol, port, texts, callers, batch, warmup and seconds."""
    speaker = SPEAKERS[job["protocol"]](job["port"])
    whole = job["warmup"] + job["seconds"]
    dealt = batches(job["texts"], job["batch"], seed=0)
    load = Load(Caller(speaker), dealt, {}, whole, lambda _: None)  # type: ignore[arg-type]  # a client as far as Load looks
    begun = time.process_time()
    await load.closed(job["callers"])
    spent = time.process_time() - begun
    figures, _ = summarise(
        load.samples,
        mode="closed",
        load=job["callers"],
        batch=job["batch"],
        warmup=job["warmup"],
        seconds=job["seconds"],
    )
    return figures.json() | {"client_cpu_ms": 1000 * spent / max(1, len(load.samples))}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
