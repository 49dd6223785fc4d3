"""mosec on sentence-transformers: `python mosec_server.py --port PORT`, the folder in BENCH_MODEL.

Request: a JSON list of texts. Reply: their vectors as float32 bytes.
"""

import json
import os

from mosec import Server, Worker
from sentence_transformers import SentenceTransformer


class Embed(Worker):
    """One process with the model, fed with batches of up to 64 calls."""

    def __init__(self) -> None:
        self.model = SentenceTransformer(os.environ["BENCH_MODEL"], device="cpu", local_files_only=True)

    def deserialize(self, data: bytes) -> list[str]:
        """The texts of a call."""
        return json.loads(data)

    def serialize(self, data: bytes) -> bytes:
        """Bytes as they are."""
        return data

    def forward(self, data: list[list[str]]) -> list[bytes]:
        """The vectors of each call."""
        texts = [text for call in data for text in call]
        vectors = self.model.encode(texts, batch_size=max(32, len(texts)), show_progress_bar=False)
        ends = [sum(map(len, data[: number + 1])) for number in range(len(data))]
        return [vectors[end - len(call) : end].tobytes() for call, end in zip(data, ends, strict=True)]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Embed, num=1, max_batch_size=64, max_wait_time=2, timeout=300)
    server.run()
