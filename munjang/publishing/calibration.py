"""The int8 step of a model: one symmetric scale, from the vectors of the built-in sentences, stored with the version.

The step is the largest component of those vectors, with a tenth to spare, over 127. Quantiles were tried with
the starter model on KorSTS dev (other texts than the calibration's): clipping one component in a thousand makes the
steps a quarter finer and the worst vector ten times worse (cosine 0.9988, not 0.9999), and the scores are no better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import encode
from munjang.encoder.postprocess import normalized
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder

MARGIN = 1.1
"""Room for texts that reach further than the built-in sentences."""

STEPS = 127


def calibrate(encoder: Encoder) -> float:
    """The value of one int8 step for normalised vectors of this model, whatever the prompt; 0 if all are zeros."""
    names = {"", *encoder.info.prompts}
    return step_of(np.concatenate([encode(encoder, SENTENCES, prompt_name=name) for name in sorted(names)]))


def step_of(vectors: NDArray[np.float32]) -> float:
    """The step for float32 [n, d] vectors, which are normalised here."""
    return float(np.abs(normalized(vectors)).max()) * MARGIN / STEPS
