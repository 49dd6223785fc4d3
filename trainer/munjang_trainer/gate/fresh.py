"""Measuring in a process of its own, which knows of the model only what is on the disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.errors import ModelLoadFailed
from munjang_trainer.evaluation.results import Comparison, Results

if TYPE_CHECKING:
    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.recipe import Recipe

SECONDS = 3600.0
"""A measurement that takes longer is given up."""


def measure_fresh(model: Path, run: Path, recipe: Recipe, settings: TrainerSettings) -> Results:
    """A model folder's results on the sets of a run.

    Raises:
        ModelLoadFailed: the process failed; the message has its last words.
    """
    return Results.model_validate_json(_evaluate([str(model)], run, recipe, settings))


def compare_fresh(serving: str, model: Path, run: Path, recipe: Recipe, settings: TrainerSettings) -> Comparison:
    """A model folder against a version, on the sets of a run.

    Raises:
        ModelLoadFailed: the process failed; the message has its last words.
    """
    return Comparison.model_validate_json(_evaluate([serving, str(model)], run, recipe, settings))


def _evaluate(models: list[str], run: Path, recipe: Recipe, settings: TrainerSettings) -> bytes:
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
