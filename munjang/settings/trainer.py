"""Settings: how the trainer runs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from munjang.settings.engine import EngineSettings


class TrainerSettings(EngineSettings):
    """How the trainer runs."""

    model: str = Field(
        default="",
        description="A sentence-transformers folder or hub id to publish at the first run instead of the starter "
        "model.",
    )
    data: str = Field(
        default="",
        description="Where the data files of recipes lie: a folder or an fsspec URL. Empty: where each recipe says. "
        "Change it to train on your own copy.",
    )
    runs: str = Field(
        default="",
        description="Where training runs are kept (data, checkpoints, curves, models). Empty: <home>/runs. Change it "
        "to put them on a larger disk.",
    )

    @property
    def runs_folder(self) -> Path:
        """The folder of runs, or its place under home."""
        return Path(self.runs).expanduser() if self.runs else self.home / "runs"
