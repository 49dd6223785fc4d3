"""The publication gate: measures a trained model in a fresh process and compares it with the version that serves.

Each `check_*` function returns the reasons to refuse the model, in sentences; an empty list is a pass.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from munjang.errors import ModelLoadFailed, MunjangError, VersionNotFound
from munjang.publishing.safety import check_finite, check_folder
from munjang.registry.publish import model_files
from munjang.registry.store import Registry
from munjang_trainer.evaluation.models import VERSION_PREFIX
from munjang_trainer.evaluation.results import Comparison, Results
from munjang_trainer.output_files import MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.schema import GateConfig, Recipe


GATE_FILE = "gate.json"
SECONDS = 3600.0
"""A measurement that takes longer is stopped."""


class GateRefused(MunjangError):
    """The gate refused a model; the message has every reason."""


class GateResult(BaseModel):
    """What the gate found.

    Attributes:
        reasons: why the model is refused, in sentences; none: it passed.
        compared_with: the version that serves, 0 if there is none.
        results: the model's metrics, measured in a fresh process; None if it could not be measured.
        comparison: against the version that serves.
    """

    reasons: list[str]
    compared_with: int
    results: Results | None = None
    comparison: Comparison | None = None

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


def check_run(run: Path, recipe: Recipe, trained: Mapping[str, float], settings: TrainerSettings) -> GateResult:
    """Measure a run's model in a fresh process, and the serving version beside it, and check everything.

    Raises:
        RegistryUnavailable: the registry cannot be read.
    """
    model = Path(run) / MODEL
    try:
        serving = Registry(settings.registry_url).resolve(recipe.gate.alias)
    except VersionNotFound:
        serving = 0
    reasons = check_files(model)
    if reasons:
        return GateResult(reasons=reasons, compared_with=serving, results=None, comparison=None)
    comparison: Comparison | None = None
    try:
        if serving:
            measured = _evaluate([f"{VERSION_PREFIX}{serving}", str(model)], run, recipe, settings)
            comparison = Comparison.model_validate_json(measured)
            results = comparison.second
        else:
            results = Results.model_validate_json(_evaluate([str(model)], run, recipe, settings))
    except ModelLoadFailed as error:
        return GateResult(reasons=[str(error)], compared_with=serving, results=None, comparison=None)
    reasons = check_reproduced(results, trained, recipe.gate.tolerance)
    reasons += check_limits(results, recipe.gate)
    if comparison:
        reasons += check_not_worse(comparison, recipe.gate)
        reasons += [] if recipe.gate.allow_dimension_change else check_dimensions(comparison)
    return GateResult(reasons=reasons, compared_with=serving, results=results, comparison=comparison)


def _evaluate(models: list[str], run: Path, recipe: Recipe, settings: TrainerSettings) -> bytes:
    """The JSON of `evaluate` in a separate process, which knows only the files of the model."""
    part = recipe.evaluation
    with tempfile.TemporaryDirectory(prefix="munjang-gate-") as temporary:
        result = Path(temporary) / "results.json"
        command = [sys.executable, "-m", "munjang_trainer", "evaluate", *models]
        command += ["--prepared", str(run), "--json", str(result), "--registry", settings.registry_url]
        command += ["--compute-type", "float32", "--prompt", recipe.model.prompt]
        command += ["--dimensions", ",".join(map(str, part.dimensions)), "--resamples", str(part.resamples)]
        command += ["--confidence", str(recipe.gate.confidence)]
        command += ["--precisions", ",".join(part.precisions)]
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            msg = f"measuring {models[-1]} took more than {SECONDS:.0f} s"
            raise ModelLoadFailed(msg) from error
        if not result.is_file():
            msg = f"{models[-1]} could not be measured in a fresh process: {_last_words(done.stderr)}"
            raise ModelLoadFailed(msg)
        return result.read_bytes()


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:]) or "it said nothing"


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
    """The fresh metrics are those that training had.

    A share of rows (accuracy, recall, mean reciprocal rank) changes in steps: if two scores are nearly equal, a
    rounding in their last digit changes their order. One such row is allowed; correlations change smoothly and have
    no such allowance.
    """
    if not results.finite:
        return ["the saved model makes vectors that are not finite (NaN or infinity)"]
    fresh = results.flat()
    reasons: list[str] = []
    for name, expected in trained.items():
        found = fresh.get(name, math.nan)
        judged = results.sets.get(name.partition(".")[0])
        allowed = tolerance + (0.0 if judged is None or judged.kind == "sts" else 1 / judged.rows)
        if not abs(found - expected) <= allowed:
            reasons.append(
                f"{name} is {found:.6f} when the saved model is loaded afresh, but was {expected:.6f} in training:"
                f" they differ by more than {allowed:.2g}"
            )
    return reasons


def check_limits(results: Results, part: GateConfig) -> list[str]:
    """Every required minimum is reached, and no maximum exceeded."""
    fresh = results.flat()
    reasons = [
        f"{name} is {fresh.get(name, math.nan):.4f}, and at least {least:.4f} is demanded"
        for name, least in part.minimum.items()
        if not fresh.get(name, math.nan) >= least
    ]
    return reasons + [
        f"{name} is {fresh.get(name, math.nan):.4f}, and at most {most:.4f} is allowed"
        for name, most in part.maximum.items()
        if not fresh.get(name, math.nan) <= most
    ]


def check_dimensions(comparison: Comparison) -> list[str]:
    """Vectors have as many dimensions as the serving version's: otherwise every store of vectors would break."""
    ours, serving = comparison.second.size.dimensions, comparison.first.size.dimensions
    if ours == serving:
        return []
    return [f"vectors have {ours} dimensions, those of {comparison.first.model} have {serving}"]


def check_not_worse(comparison: Comparison, part: GateConfig) -> list[str]:
    """No metric is below the serving version's by more than its margin with its whole interval."""
    reasons: list[str] = []
    margins = dict.fromkeys(part.metrics or comparison.second.main(), part.margin) | part.margins
    for name, margin in margins.items():
        change = comparison.differences.get(name)
        if change is None:
            reasons.append(f"{name} is to be compared, but is no metric of a set")
        elif change.high < -margin:
            reasons.append(
                f"{name} is {-change.value:.4f} below that of {comparison.first.model}: the {part.confidence:.0%}"
                f" interval of the difference, {change.low:+.4f} to {change.high:+.4f}, lies wholly below the margin"
                f" of {-margin:+.4f}"
            )
    return reasons
