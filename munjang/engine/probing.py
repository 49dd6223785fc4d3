"""Whether a loaded model is the one that was published: its dimensions, and its vectors of the probe texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import encode
from munjang.encoder.postprocess import normalized
from munjang.errors import ModelLoadFailed, ProbeMismatch

if TYPE_CHECKING:
    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import Manifest

EXACT = 0.9999
"""The least cosine to the recorded vector where the forward computes in float32."""

ROUNDED = 0.995
"""The same where it computes in a shorter format."""


def probe(encoder: Encoder, manifest: Manifest, *, exact: bool) -> None:
    """Encode the manifest's probe texts, and compare.

    Raises:
        ModelLoadFailed: the model has other dimensions than its manifest, or makes values that are not finite.
        ProbeMismatch: a vector is not the recorded one.
    """
    if encoder.info.dimensions != manifest.dimensions:
        msg = f"the model has {encoder.info.dimensions} dimensions, and its manifest says {manifest.dimensions}"
        raise ModelLoadFailed(msg)
    if not manifest.probes:
        msg = "the manifest records no probe vectors, so the model cannot be checked"
        raise ProbeMismatch(msg)
    vectors = encode(encoder, [item.text for item in manifest.probes])
    if not np.isfinite(vectors).all():
        msg = "the model makes vectors that are not finite (NaN or infinity)"
        raise ModelLoadFailed(msg)
    for item, vector in zip(manifest.probes, vectors, strict=True):
        _compare(vector, item.array(), item.text, EXACT if exact else ROUNDED)


def _compare(vector: np.ndarray, recorded: np.ndarray, text: str, least: float) -> None:
    if recorded.shape != vector.shape:
        msg = f"a probe vector of {recorded.shape[0]} dimensions is recorded for a model of {vector.shape[0]}"
        raise ProbeMismatch(msg)
    cosine = float((normalized(vector[None]) @ normalized(recorded[None]).T)[0, 0])
    if not cosine >= least:
        msg = f"the vector of {text[:20]!r} has cosine {cosine:.5f} to the recorded one; at least {least} is needed"
        raise ProbeMismatch(msg)
