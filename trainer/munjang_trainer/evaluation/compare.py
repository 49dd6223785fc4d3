"""Two models side by side: the difference of each set's main figure, with paired bootstrap intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang_trainer.evaluation.bootstrap import difference
from munjang_trainer.evaluation.results import Comparison

if TYPE_CHECKING:
    from munjang_trainer.evaluation.measure import Measured, Scope


def compare(first: Measured, second: Measured, scope: Scope) -> Comparison:
    """The second model against the first, both measured on the same sets.

    Raises:
        ConfigurationError: a set of one has another content than that of the other.
    """
    differences = {}
    for name, result in second.results.sets.items():
        other = first.results.sets.get(name)
        if other is None:
            continue
        if other.sha256 != result.sha256:
            msg = f"the two models were measured on different contents of {name!r}"
            raise ConfigurationError(msg, field="evaluation")
        differences[f"{name}.{result.main}"] = difference(
            first.samples[name],
            second.samples[name],
            resamples=scope.resamples,
            confidence=scope.confidence,
            seed=scope.seed,
        )
    return Comparison(first=first.results, second=second.results, differences=differences, confidence=scope.confidence)
