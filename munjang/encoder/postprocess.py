"""What happens to raw vectors after the forward: cut, normalise, pack. Pure numpy, the same on server and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.errors import InvalidOption, UnsupportedDimensions, UnsupportedPrecision
from munjang.vectors import Precision, pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from munjang.encoder.contract import ModelInfo


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The requested form of vectors.

    Attributes:
        dimensions: keep this many leading components (Matryoshka); 0 keeps all.
        normalize: scale to length 1, after cutting.
        precision: the component format.
    """

    dimensions: int = 0
    normalize: bool = True
    precision: Precision = Precision.FLOAT32

    def check(self, info: ModelInfo) -> None:
        """Refuse what the model cannot give.

        Raises:
            UnsupportedDimensions: more dimensions than the model has.
            UnsupportedPrecision: int8 without a stored calibration.
            InvalidOption: int8 of vectors that are not normalised, for which no calibration is possible.
        """
        if not 0 <= self.dimensions <= info.dimensions:
            msg = f"{self.dimensions} dimensions asked for; the model has {info.dimensions}"
            raise UnsupportedDimensions(msg, field="options.dimensions")
        if self.precision is Precision.INT8:
            if info.int8_scale <= 0:
                msg = "int8 needs a calibration, and this model version was published without one"
                raise UnsupportedPrecision(msg, field="options.precision")
            if not self.normalize:
                msg = "int8 is calibrated for normalised vectors: leave normalize on, or take another precision"
                raise InvalidOption(msg, field="options.normalize")


def finish(raw: NDArray[np.float32], options: OutputOptions) -> NDArray[np.float32]:
    """Cut float32 [n, D] to the requested dimensions and normalise; float32 [n, d]. Zero rows stay zero.

    int8 keeps the scale of the full vector, so its vectors are normalised before they are cut: an int8 vector of fewer
    dimensions is the beginning of the full int8 vector.
    """
    cut = options.dimensions or raw.shape[1]
    if options.precision is Precision.INT8:
        return normalized(raw)[:, :cut]
    rows = raw[:, :cut]
    return normalized(rows) if options.normalize else rows


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; rows of zeros stay zeros."""
    norms: NDArray[np.float32] = np.sqrt(np.vecdot(rows, rows))[:, None]
    norms[norms == 0] = 1
    return rows / norms


def activated(scores: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Final scores of a cross-encoder's raw ones, of any shape; `activation` is a key of `ACTIVATIONS`."""
    final: NDArray[np.float32] = ACTIVATIONS[activation](scores)
    return final


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    half = np.float32(0.5)
    final: NDArray[np.float32] = half + half * np.tanh(half * values)
    return final


def _relu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(values, np.float32(0))


ACTIVATIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "identity": np.positive,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": _relu,
}
"""The activations of cross-encoders, by the name of torch's class in small letters."""


def packed(raw: NDArray[np.float32], options: OutputOptions, info: ModelInfo) -> bytes:
    """Finish raw vectors [n, D] and pack them as little-endian bytes."""
    return pack(finish(raw, options), options.precision, info.int8_scale)
