"""LitServe on sentence-transformers: `python litserve_server.py PORT`, the folder in BENCH_MODEL.

Request: {"texts": […]}. Reply: {"vectors": base64 of float32 bytes}.
"""

import base64
import os
import sys

import litserve
from sentence_transformers import SentenceTransformer


class Embed(litserve.LitAPI):
    """One process with the model, fed with batches of up to 64 calls."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model = SentenceTransformer(os.environ["BENCH_MODEL"], device=device, local_files_only=True)

    def decode_request(self, request: dict) -> list[str]:
        """The texts of a call."""
        return request["texts"]

    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        """Calls as they are."""
        return inputs

    def predict(self, x: list[list[str]]) -> list[bytes]:
        """The vectors of each call."""
        texts = [text for call in x for text in call]
        vectors = self.model.encode(texts, batch_size=max(32, len(texts)), show_progress_bar=False)
        ends = [sum(map(len, x[: number + 1])) for number in range(len(x))]
        return [vectors[end - len(call) : end].tobytes() for call, end in zip(x, ends, strict=True)]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """Already by call."""
        return output

    def encode_response(self, output: bytes) -> dict:
        """The reply."""
        return {"vectors": base64.b64encode(output).decode()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Embed(max_batch_size=64, batch_timeout=0.002), accelerator="cpu", workers_per_device=1, timeout=300
    )
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
