"""Which checkpoints are complete, and how many are kept.

A checkpoint is complete once its marker file exists. The marker is written last, after every process has written its
part. A kill while one is written leaves a folder without a marker, which is never resumed from and is deleted.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from torch import distributed
from transformers import TrainerCallback

from munjang_trainer.output_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn
    from transformers import TrainerState, TrainingArguments

MARK = "whole"
PREFIX = "checkpoint-"


def complete_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a stage, by step."""
    return sorted((path for path in _checkpoints(folder) if (path / MARK).is_file()), key=step_of)


def _checkpoints(folder: Path) -> list[Path]:
    """The folders with the names that the Trainer gives; copies under other names are left alone."""
    return [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdecimal()]


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def remove_incomplete(folder: Path) -> list[Path]:
    """Remove incomplete checkpoints; returns what was removed."""
    broken = [path for path in _checkpoints(folder) if not (path / MARK).is_file()]
    for path in broken:
        shutil.rmtree(path)
    return broken


def load_projections(checkpoint: Path, losses: Mapping[str, nn.Module]) -> None:
    """Restore the weights that losses learn besides the model."""
    for name, loss in _projecting(losses).items():
        loss.load_projection(str(checkpoint / _projection(name)))


class CheckpointCallback(TrainerCallback):
    """Marks each checkpoint as complete, then deletes the oldest ones, never the best."""

    def __init__(self, keep: int, losses: Mapping[str, nn.Module]) -> None:
        self._keep = keep
        self._losses = losses

    def on_save(self, args: TrainingArguments, state: TrainerState, _control: Any, **_: Any) -> None:
        """Called by every process when its part of the checkpoint is written."""
        if distributed.is_initialized():
            distributed.barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            checkpoint = folder / f"{PREFIX}{state.global_step}"
            for name, loss in _projecting(self._losses).items():
                loss.save_projection(str(checkpoint / _projection(name)))
            write_atomically(checkpoint / MARK, f"{state.global_step}\n")
            self._delete_oldest(folder, state.best_model_checkpoint)

    def _delete_oldest(self, folder: Path, best: str | None) -> None:
        for checkpoint in complete_checkpoints(folder)[: -self._keep]:
            if best is None or checkpoint != Path(best):
                (checkpoint / MARK).unlink()
                shutil.rmtree(checkpoint)


def _projecting(losses: Mapping[str, nn.Module]) -> dict[str, EmbedDistillLoss]:
    return {
        name: loss
        for name, loss in losses.items()
        if isinstance(loss, EmbedDistillLoss) and loss.projection is not None
    }


def _projection(name: str) -> str:
    return f"projection-{name}.safetensors"
