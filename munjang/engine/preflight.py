"""What a loaded model must pass before it serves: it reproduces the recorded vectors, and every shape has run once.

Probing shows that it is the model that was published. Warming runs the shapes that it will serve, so that the first
calls on it are not slow.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.contract import Tokens
from munjang.encoder.encode import (
    DEFAULT_BUDGET,
    LONGEST_AT_LOAD,
    check_score,
    check_vector,
    encode,
    forward_all,
    longest_pair,
    longest_text,
)
from munjang.encoder.postprocess import normalized
from munjang.encoder.sequence_packing import SHORT
from munjang.errors import ModelLoadFailed, ProbeMismatch
from munjang.kinds import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import Manifest

LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.995, "float16": 0.995, "int8": 0.9}
"""The least cosine to the recorded vector, by the format in which the forward computes."""

LEAST_AGREEMENT = {"float32": 0.999, "bfloat16": 0.95, "float16": 0.99, "int8": 0.7}
"""The same for a cross-encoder's raw scores: 1 less the largest difference, relative to the largest score above 1."""

WIDTHS = (*range(4, SHORT + 1, 4), 96, 128, 192, 256, 384, 512)
"""Tokens of single texts to warm, up to the model's own limit: every width of a short one, and some of long ones."""

ROWS = range(2, 9)
"""Rows of short texts to warm: batches of up to so many are formed while few callers are about."""

SAMPLE = "새로운 문장 임베딩 모델을 서비스하기 전에 한 번씩 미리 돌려 봅니다. "


def probe(encoder: Encoder, manifest: Manifest, *, least: float, budget: int = DEFAULT_BUDGET) -> float:
    """Run the manifest's probe texts or pairs, and compare with what is recorded.

    A text that fills the model, or of `LONGEST_AT_LOAD` tokens, is run too, if none of those does. `budget` is the most
    tokens of one forward.

    Returns:
        The least cosine to a recorded vector; for a cross-encoder the agreement of its scores, see `LEAST_AGREEMENT`.

    Raises:
        ModelLoadFailed: the model has other dimensions than its manifest, or makes values that are not finite.
        ProbeMismatch: it is less than `least`.
    """
    if encoder.info.dimensions != manifest.dimensions:
        msg = f"the model has {encoder.info.dimensions} dimensions, and its manifest says {manifest.dimensions}"
        raise ModelLoadFailed(msg)
    if not manifest.probes:
        msg = "the manifest records no probe vectors, so the model cannot be checked"
        raise ProbeMismatch(msg)
    compared = _probe_texts if manifest.kind is ModelKind.DENSE else _probe_pairs
    return compared(encoder, manifest, least, budget)


def _probe_texts(encoder: Encoder, manifest: Manifest, least: float, budget: int) -> float:
    texts = list(dict.fromkeys([*(item.text for item in manifest.probes), longest_text(encoder, LONGEST_AT_LOAD)]))
    vectors = dict(zip(texts, encode(encoder, texts, budget=budget), strict=True))
    for text, vector in vectors.items():
        check_vector(text, vector)
    return min(_cosine(vectors[item.text], item.array(), item.text, least) for item in manifest.probes)


def _probe_pairs(encoder: Encoder, manifest: Manifest, least: float, budget: int) -> float:
    pairs = [*((item.query, item.text) for item in manifest.probes), longest_pair(encoder, LONGEST_AT_LOAD)]
    scores = forward_all(encoder, encoder.tokenize_pairs(pairs), budget=budget)
    for pair, score in zip(pairs, scores, strict=True):
        check_score(pair, score)
    recorded = np.concatenate([item.array() for item in manifest.probes])
    off = np.abs(scores[: len(recorded), 0] - recorded) / max(1.0, float(np.abs(recorded).max()))
    worst = int(off.argmax())
    agreement = 1 - float(off[worst])
    if not agreement >= least:
        text, scored, wanted = manifest.probes[worst].text[:20], float(scores[worst, 0]), float(recorded[worst])
        msg = f"the score of {text!r} is {scored:.5f}, and {wanted:.5f} is recorded; they agree to less than {least}"
        raise ProbeMismatch(msg)
    return agreement


def _cosine(vector: np.ndarray, recorded: np.ndarray, text: str, least: float) -> float:
    if recorded.shape != vector.shape:
        msg = f"a probe vector of {recorded.shape[0]} dimensions is recorded for a model of {vector.shape[0]}"
        raise ProbeMismatch(msg)
    cosine = float((normalized(vector[None]) @ normalized(recorded[None]).T)[0, 0])
    if not cosine >= least:
        msg = f"the vector of {text[:20]!r} has cosine {cosine:.5f} to the recorded one; at least {least} is needed"
        raise ProbeMismatch(msg)
    return cosine


def warm(encoder: Encoder, budget: int, longest: float = math.inf) -> None:
    """Run one text at each width, shortest first, then rows of short texts, then one batch of the largest size.

    That has `budget` tokens, or fewer if those take more than `longest` seconds. Last, every stream runs its
    share of that at the same time, since each has memory of its own.
    """
    texts = _longest_sample(encoder)
    for width in _widths(len(texts)):
        encoder.forward([cut(texts, width)])
    short = cut(texts, SHORT)
    seconds = 0.0
    for rows in ROWS:
        if rows * len(short) <= budget:
            begun = time.perf_counter()
            encoder.forward([short] * rows)
            seconds = (time.perf_counter() - begun) / rows
    most = int(min(budget // len(short), longest / seconds if seconds else math.inf))
    if most > ROWS[-1]:
        encoder.forward([short] * most)
    if encoder.streams > 1:
        _warm_streams(encoder, [short] * max(1, most // encoder.streams))


def _warm_streams(encoder: Encoder, batch: list[Tokens]) -> None:
    together = Barrier(encoder.streams)

    def run(_: int) -> None:
        together.wait()
        encoder.forward(batch, share=True)

    with ThreadPoolExecutor(encoder.streams) as threads:
        list(threads.map(run, range(encoder.streams)))


def cut(tokens: Tokens, width: int) -> Tokens:
    """The first `width` tokens of a text, as a text of its own for warming."""
    return Tokens(tokens.ids[:width], tokens.type_ids[:width], tokens.prompt_tokens, text=tokens.text)


def _longest_sample(encoder: Encoder) -> Tokens:
    """Korean words that fill the model, or the widest width that is warmed."""
    wanted = min(encoder.info.max_tokens, WIDTHS[-1])
    text = SAMPLE * (1 + wanted // 10)
    return cut(encoder.tokenize([text])[0], wanted)


def _widths(longest: int) -> Iterator[int]:
    yield from (width for width in WIDTHS if width < longest)
    yield longest
