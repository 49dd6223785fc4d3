"""What a manifest says of a model, found by running it: facts, probe vectors, int8 calibration, library versions.

The int8 step is one symmetric scale: the largest component of the built-in sentences' vectors, with a fifth to spare,
over 127. Tried with the starter model on 4,830 other texts: one component in two million lies beyond, the worst cosine
of an int8 vector to its float32 one is 0.9999, and Spearman on KorSTS dev stays at 0.807. Clipping one component in a
thousand instead makes the steps a quarter finer, but the worst vector thirty times worse (0.9988), and the scores no
better.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import encode, forward_all
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.errors import ModelLoadFailed
from munjang.korean import PROBES, SENTENCES
from munjang.registry.layout import Description, Probe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder

MARGIN = 1.2
"""Room for texts that reach further than the built-in sentences."""

STEPS = 127

LIBRARIES = ("munjang", "numpy", "safetensors", "sentence-transformers", "tokenizers", "torch", "transformers")


def describe(folder: Path) -> Description:
    """Load a model folder on the CPU in float32 and describe it; lineage and metrics are left to the caller.

    Raises:
        ModelLoadFailed: it cannot be loaded, fails on a probe text, or makes values that are not finite.
    """
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", runtime="torch"))
    try:
        return _describe(encoder)
    finally:
        encoder.close()


def _describe(encoder: Encoder) -> Description:
    try:
        vectors = encode(encoder, PROBES)
        scale = calibrate(encoder)
    except (RuntimeError, IndexError, ValueError) as error:
        msg = f"the model fails on the built-in sentences: {error}"
        raise ModelLoadFailed(msg) from error
    if not np.isfinite(vectors).all():
        msg = "the model makes vectors that are not finite (NaN or infinity)"
        raise ModelLoadFailed(msg)
    info = encoder.info
    return Description(
        dimensions=info.dimensions,
        max_tokens=info.max_tokens,
        similarity=info.similarity,
        prompts=dict(info.prompts),
        default_prompt=info.default_prompt,
        int8_scale=scale,
        probes=tuple(Probe.of(text, vector) for text, vector in zip(PROBES, vectors, strict=True)),
        libraries={name: metadata.version(name) for name in LIBRARIES},
    )


def calibrate(encoder: Encoder) -> float:
    """The value of one int8 step for normalised vectors of this model; 0 if all are zeros.

    The prompts take turns, so a model with many does not run longer than one with none.
    """
    names = sorted({"", *encoder.info.prompts})
    tokens = [encoder.tokenize([text], names[turn % len(names)])[0] for turn, text in enumerate(SENTENCES)]
    return step_of(forward_all(encoder, tokens))


def step_of(vectors: NDArray[np.float32]) -> float:
    """The step for float32 [n, d] vectors, which are normalised here."""
    return float(np.abs(normalized(vectors)).max()) * MARGIN / STEPS
