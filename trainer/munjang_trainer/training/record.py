"""What a finished training says of itself: everything that is needed to make it again, and its own figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "training.json"


class StageRecord(BaseModel):
    """One stage: optimizer steps made, and after which of them the weights were kept."""

    name: str
    steps: int
    kept_step: int


class TrainingRecord(BaseModel):
    """A whole training.

    Attributes:
        recipe: the name of the recipe; the file recipe.yaml beside this one has all its values.
        base: what training started from.
        seed: of every random choice.
        data_fingerprint: of what was trained on.
        code_version, libraries, machine: what it ran on.
        stages: in order.
        metrics: the finished model's figures `set.metric`, by sentence-transformers itself.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # figures of a broken model must reach the gate

    recipe: str
    base: str
    seed: int
    data_fingerprint: str
    code_version: str
    libraries: dict[str, str]
    machine: str
    stages: list[StageRecord]
    metrics: dict[str, float]


def read_record(run: Path) -> TrainingRecord:
    """The record of a run.

    Raises:
        ConfigurationError: the run is not finished.
    """
    try:
        return TrainingRecord.model_validate_json((run / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{run} holds no finished training: {error}"
        raise ConfigurationError(msg, field="run") from error
