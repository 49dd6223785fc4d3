"""Intervals by resampling rows: of one model's figure, and of the difference of two models on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from munjang_trainer.evaluation.metrics import Sample


class Interval(NamedTuple):
    """A figure with the percentile interval around it."""

    value: float
    low: float
    high: float


def interval(sample: Sample, *, resamples: int, confidence: float, seed: int) -> Interval:
    """The figure of one model."""
    return _bootstrap(len(sample.values), sample.figure, resamples, confidence, seed)


def difference(first: Sample, second: Sample, *, resamples: int, confidence: float, seed: int) -> Interval:
    """The second model's figure minus the first's, both on the same draws (paired), so that hard rows cancel out.

    Raises:
        ValueError: the two do not have the same rows.
    """
    if len(first.values) != len(second.values):
        msg = f"{len(first.values)} and {len(second.values)} rows are not the same rows"
        raise ValueError(msg)

    def figure(rows: NDArray[np.int64] | slice) -> float:
        return second.figure(rows) - first.figure(rows)

    return _bootstrap(len(first.values), figure, resamples, confidence, seed)


def _bootstrap(
    count: int,
    figure: Callable[[NDArray[np.int64] | slice], float],
    resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    draw = np.random.default_rng(seed)
    figures = [figure(draw.integers(0, count, count)) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return Interval(figure(slice(None)), float(low), float(high))
