"""Whether a trained model may be published, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from munjang.errors import ModelLoadFailed, MunjangError, VersionNotFound
from munjang.registry.store import Registry
from munjang_trainer.evaluation.results import Comparison, Results  # noqa: TC001 - pydantic needs the types at run time
from munjang_trainer.evaluation.subject import VERSION_PREFIX
from munjang_trainer.gate.checks import check_dimensions, check_files, check_minimum, check_not_worse, check_reproduced
from munjang_trainer.gate.fresh import compare_fresh, measure_fresh
from munjang_trainer.training.stage import MODEL

if TYPE_CHECKING:
    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.recipe import Recipe
    from munjang_trainer.training.record import TrainingRecord

VERDICT = "gate.json"


class GateRefused(MunjangError):
    """The gate refused a model; the message has every reason."""


class Verdict(BaseModel):
    """What the gate found.

    Attributes:
        reasons: why the model is refused, in sentences; none: it passed.
        compared_with: the version that serves, 0 if there is none.
        results: the model's figures, measured afresh; None if it could not be measured.
        comparison: against the version that serves.
    """

    reasons: list[str]
    compared_with: int
    results: Results | None
    comparison: Comparison | None

    @property
    def passed(self) -> bool:
        """Whether the model may be published."""
        return not self.reasons

    def refuse(self) -> None:
        """Raise GateRefused with the reasons, if there are some."""
        if self.reasons:
            listed = "\n".join(f"  - {reason}" for reason in self.reasons)
            msg = f"the gate refuses this model:\n{listed}"
            raise GateRefused(msg)


def judge_run(run: Path, recipe: Recipe, record: TrainingRecord, settings: TrainerSettings) -> Verdict:
    """Measure a run's model in a fresh process, and the serving version beside it, and check everything.

    Raises:
        RegistryUnavailable: the registry cannot be read.
    """
    model = Path(run) / MODEL
    serving = _serving(recipe.gate.alias, settings)
    reasons = check_files(model)
    if reasons:
        return Verdict(reasons=reasons, compared_with=serving, results=None, comparison=None)
    comparison: Comparison | None = None
    try:
        if serving:
            comparison = compare_fresh(f"{VERSION_PREFIX}{serving}", model, run, recipe, settings)
        results = comparison.second if comparison else measure_fresh(model, run, recipe, settings)
    except ModelLoadFailed as error:
        return Verdict(reasons=[str(error)], compared_with=serving, results=None, comparison=None)
    reasons = check_reproduced(results, record.metrics, recipe.gate.tolerance)
    reasons += check_minimum(results, recipe.gate.minimum)
    if comparison:
        reasons += check_not_worse(comparison, recipe.gate)
        reasons += [] if recipe.gate.allow_dimension_change else check_dimensions(comparison)
    return Verdict(reasons=reasons, compared_with=serving, results=results, comparison=comparison)


def _serving(alias: str, settings: TrainerSettings) -> int:
    try:
        return Registry(settings.registry_url).resolve(alias)
    except VersionNotFound:
        return 0
