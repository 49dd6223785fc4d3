"""The reasons to refuse a model, each a pure function that answers with sentences; an empty list is a pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from munjang.errors import MunjangError
from munjang.publishing.safety import check_finite, check_folder
from munjang.registry.publish import model_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from munjang_trainer.evaluation.results import Comparison, Results
    from munjang_trainer.recipe.judge import GatePart


def check_files(folder: Path) -> list[str]:
    """Only plain data, weights in safetensors, no code, no value that is not finite."""
    reasons: list[str] = []
    for check in (model_files, check_folder, check_finite):
        try:
            check(folder)
        except MunjangError as error:
            reasons.append(str(error))
    return reasons


def check_reproduced(results: Results, trained: Mapping[str, float], tolerance: float) -> list[str]:
    """The fresh figures are those that training had.

    A share of rows (accuracy, recall, mean reciprocal rank) moves in steps: where two scores are as good as equal, a
    rounding in their last digit changes their order. One such row is let pass; correlations move smoothly and have
    no such allowance.
    """
    if not results.finite:
        return ["the saved model makes vectors that are not finite (NaN or infinity)"]
    fresh = results.flat()
    reasons: list[str] = []
    for name, expected in trained.items():
        found = fresh.get(name, math.nan)
        allowed = tolerance + _one_row(results, name)
        if not abs(found - expected) <= allowed:
            reasons.append(
                f"{name} is {found:.6f} when the saved model is loaded afresh, but was {expected:.6f} in training:"
                f" they differ by more than {allowed:.2g}"
            )
    return reasons


def _one_row(results: Results, name: str) -> float:
    """What one row weighs in a figure that is a mean over rows; 0 for a correlation."""
    judged = results.sets.get(name.partition(".")[0])
    return 0.0 if judged is None or judged.kind == "sts" else 1 / judged.rows


def check_minimum(results: Results, minimum: Mapping[str, float]) -> list[str]:
    """Every figure that must be reached is."""
    fresh = results.flat()
    return [
        f"{name} is {fresh.get(name, math.nan):.4f}, and at least {least:.4f} is demanded"
        for name, least in minimum.items()
        if not fresh.get(name, math.nan) >= least
    ]


def check_dimensions(comparison: Comparison) -> list[str]:
    """Vectors have the length that the serving version's have: else every store of vectors would break."""
    ours, serving = comparison.second.size.dimensions, comparison.first.size.dimensions
    if ours == serving:
        return []
    return [f"vectors have {ours} dimensions, those of {comparison.first.model} have {serving}"]


def check_not_worse(comparison: Comparison, part: GatePart) -> list[str]:
    """No figure lies below the serving version's by more than the margin with its whole interval."""
    reasons: list[str] = []
    for name, change in comparison.differences.items():
        if part.metrics and name not in part.metrics:
            continue
        if change.high < -part.margin:
            reasons.append(
                f"{name} is {-change.value:.4f} below that of {comparison.first.model}: the {part.confidence:.0%}"
                f" interval of the difference, {change.low:+.4f} to {change.high:+.4f}, lies wholly below the margin"
                f" of {-part.margin:+.4f}"
            )
    missing = set(part.metrics) - set(comparison.differences)
    return reasons + [f"{name} shall be compared, but is not the main figure of a set" for name in sorted(missing)]
