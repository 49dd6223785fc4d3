"""Section `linear`: time against the number of texts and against their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang.encoder.contract import Tokens
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.testing_models import tiny_model
from tests.bench.speed import texts
from tests.bench.speed.stats import slope, timed

if TYPE_CHECKING:
    from munjang.encoder.load import SentenceEncoder
    from tests.bench.speed.context import Context

TINY_COUNTS = (1000, 3000, 10_000, 30_000, 100_000)
COUNTS = (100, 300, 1000, 3000)
LENGTHS = (8, 16, 32, 64, 128, 256, 512)


def measure(context: Context) -> dict[str, Any]:
    """Seconds by number of texts, for the model and up to 100,000 for one of two tiny layers, and by tokens.

    The tiny model's forward costs next to nothing: what grows there is our own code. It is what makes 100,000 texts
    fit into a run; each further batch of the real model costs what the batches before it did.
    """
    encoder = context.encoder()
    tiny = load_encoder(tiny_model(context.work / "tiny"), LoadOptions(device="cpu"))
    step = 20 if context.quick else 1
    return {
        "texts": _by_texts(encoder, context, [count // step for count in COUNTS]),
        "texts_tiny_model": _by_texts(tiny, context, [count // step for count in TINY_COUNTS]),
        "tokens": _by_tokens(encoder, 1024 if context.quick else 8192),
    }


def _by_texts(encoder: SentenceEncoder, context: Context, counts: list[int]) -> dict[str, Any]:
    encode(encoder, context.texts[:50])
    seconds = []
    for count in counts:
        some = texts.take(context.texts, count)
        seconds.append(timed(lambda some=some: normalized(encode(encoder, some))))
    return {"sizes": counts, "seconds": seconds, "exponent": slope(counts, seconds)}


def _by_tokens(encoder: SentenceEncoder, whole: int) -> dict[str, Any]:
    """Seconds of about as many tokens in texts of one length each: what attention adds to long texts shows."""
    lengths = [length for length in LENGTHS if length <= encoder.info.max_tokens]
    seconds = []
    for length in lengths:
        batch = [Tokens((5,) * length)] * max(1, 2048 // length)
        encoder.forward(batch)
        times = max(1, whole // 2048)
        taken = sum(timed(lambda batch=batch: encoder.forward(batch)) for _ in range(times))
        seconds.append(taken / (times * len(batch)))
    return {"sizes": lengths, "seconds": seconds, "exponent": slope(lengths, seconds)}
