"""A simple grpc.aio batcher: what a careful team writes in an afternoon, on sentence-transformers or on OpenVINO.

    python -m tests.bench.speed.peers.scheduler FOLDER PORT sentence-transformers|openvino

Request: a JSON list of texts. Reply: their vectors as float32 bytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 64
"""Texts of one batch, unless one call brings more."""


def load(folder: str, runtime: str) -> Callable[[list[str]], Any]:
    """The function from texts to normalised vectors."""
    if runtime == "openvino":
        from tests.bench.speed.plain import PlainOpenVino  # noqa: PLC0415 - one runtime or the other

        return PlainOpenVino(folder).encode
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - as above

    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return lambda texts: model.encode(texts, batch_size=max(32, len(texts)), show_progress_bar=False)


class Batcher:
    """Takes what waits, up to MOST texts, whenever the model is free."""

    def __init__(self, encode: Callable[[list[str]], Any]) -> None:
        self._encode = encode
        self._waiting: asyncio.Queue[tuple[list[str], asyncio.Future[bytes]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)

    async def call(self, request: bytes, _context: object) -> bytes:
        """One call."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((json.loads(request), future))
        return await future

    async def run(self) -> None:
        """Batch after batch."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and sum(len(texts) for texts, _ in batch) < MOST:
                batch.append(self._waiting.get_nowait())
            texts = [text for item in batch for text in item[0]]
            vectors = await loop.run_in_executor(self._thread, self._encode, texts)
            start = 0
            for own, future in batch:
                if not future.done():
                    future.set_result(vectors[start : start + len(own)].tobytes())
                start += len(own)


async def serve(folder: str, port: int, runtime: str) -> None:
    """Serve until ended."""
    batcher = Batcher(load(folder, runtime))
    handler = grpc.unary_unary_rpc_method_handler(batcher.call)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Embed", {"Encode": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await batcher.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
