"""Section `decoder`: a decoder of Qwen3-Embedding-0.6B's shape on a CPU, against torch in bfloat16.

Its weights are random and its vocabulary is small: neither changes what a token costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, computes_in_bfloat16, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.testing_models import tiny_model
from tests.bench.speed import texts
from tests.bench.speed.stats import interleave, ratio, summary, timed

if TYPE_CHECKING:
    from munjang.encoder.load import SentenceEncoder
    from tests.bench.speed.context import Context

BASE = "munjang, torch bfloat16"
SHAPE = {"dimensions": 1024, "layers": 28, "heads": 16}
CONFIG = {
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "rope_theta": 1_000_000,
    "initializer_range": 0.02,
}
SMALL = {"dimensions": 64, "layers": 2, "heads": 4}
COUNT = 128
SECONDS = 900.0


def measure(context: Context) -> dict[str, Any]:
    """Texts a second and the worst cosine to torch in float32, by runtime and number format."""
    shape, config = (SMALL, CONFIG | {"head_dim": 16, "num_key_value_heads": 2}) if context.quick else (SHAPE, CONFIG)
    folder = tiny_model(
        context.work / "decoder",
        architecture="qwen3",
        pooling="lasttoken",
        padding_side="left",
        max_tokens=512,
        config=config,
        **shape,
    )
    some = texts.take(context.texts, 8 if context.quick else COUNT)
    exact = _load(folder, "torch", "float32")
    expected = normalized(encode(exact, some[:16]))
    exact.close()
    ways = {BASE: _load(folder, "torch", "bfloat16"), "munjang, OpenVINO float32": _load(folder, "openvino", "float32")}
    if computes_in_bfloat16(LoadOptions(device="cpu")):
        ways["munjang, OpenVINO bfloat16"] = _load(folder, "openvino", "bfloat16")
    cosines = {name: _worst(encoder, some[:16], expected) for name, encoder in ways.items()}  # warms them too
    work = {name: lambda encoder=encoder: timed(lambda: encode(encoder, some)) for name, encoder in ways.items()}
    rates = {
        name: [len(some) / taken for taken in seconds]
        for name, seconds in interleave(work, context.rounds, SECONDS).items()
    }
    tokens = sum(map(len, ways[BASE].tokenize(some)))
    return {
        "texts": len(some),
        "tokens": tokens / len(some),
        "rates": {
            name: summary(values) | {"times_torch": ratio(values, rates[BASE]), "worst_cosine": cosines[name]}
            for name, values in rates.items()
        },
    }


def _load(folder: Any, runtime: Any, compute_type: Any) -> SentenceEncoder:
    options = LoadOptions(
        device="cpu", runtime=runtime, compute_type=compute_type, export=folder.parent / "exports" / "d"
    )
    return load_encoder(folder, options)


def _worst(encoder: SentenceEncoder, some: list[str], expected: np.ndarray) -> float:
    return float(np.einsum("ij,ij->i", normalized(encode(encoder, some)), expected).min())
