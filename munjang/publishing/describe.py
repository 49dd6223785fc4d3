"""What a manifest says of a model, found by running it: facts, probe vectors, calibration, library versions."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import ModelLoadFailed
from munjang.korean import PROBES
from munjang.publishing.calibration import calibrate
from munjang.registry.layout import Description, Probe

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.encoder.contract import Encoder

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
