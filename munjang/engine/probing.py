"""Whether a loaded model is the one that was published: its dimensions, and its vectors of the probe texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import DEFAULT_BUDGET, encode
from munjang.encoder.postprocess import normalized
from munjang.errors import ModelLoadFailed, ProbeMismatch

if TYPE_CHECKING:
    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import Manifest

LEAST = {"float32": 0.9999, "bfloat16": 0.995, "float16": 0.995, "int8": 0.9}
"""The least cosine to the recorded vector, by the format in which the forward computes."""


def probe(encoder: Encoder, manifest: Manifest, *, least: float, budget: int = DEFAULT_BUDGET) -> float:
    """Encode the manifest's probe texts, and compare; the least cosine to a recorded vector.

    `budget` is the most tokens of one forward.

    Raises:
        ModelLoadFailed: the model has other dimensions than its manifest, or makes values that are not finite.
        ProbeMismatch: a cosine is less than `least`.
    """
    if encoder.info.dimensions != manifest.dimensions:
        msg = f"the model has {encoder.info.dimensions} dimensions, and its manifest says {manifest.dimensions}"
        raise ModelLoadFailed(msg)
    if not manifest.probes:
        msg = "the manifest records no probe vectors, so the model cannot be checked"
        raise ProbeMismatch(msg)
    vectors = encode(encoder, [item.text for item in manifest.probes], budget=budget)
    if not np.isfinite(vectors).all():
        msg = "the model makes vectors that are not finite (NaN or infinity)"
        raise ModelLoadFailed(msg)
    return min(
        _cosine(vector, item.array(), item.text, least) for item, vector in zip(manifest.probes, vectors, strict=True)
    )


def _cosine(vector: np.ndarray, recorded: np.ndarray, text: str, least: float) -> float:
    if recorded.shape != vector.shape:
        msg = f"a probe vector of {recorded.shape[0]} dimensions is recorded for a model of {vector.shape[0]}"
        raise ProbeMismatch(msg)
    cosine = float((normalized(vector[None]) @ normalized(recorded[None]).T)[0, 0])
    if not cosine >= least:
        msg = f"the vector of {text[:20]!r} has cosine {cosine:.5f} to the recorded one; at least {least} is needed"
        raise ProbeMismatch(msg)
    return cosine
