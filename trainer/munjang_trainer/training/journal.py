"""What happened at which step: one JSON object a line. A resumed run drops what came after its checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import TrainerControl, TrainerState, TrainingArguments


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries; a last line that a kill cut off is left out."""
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def rewind(path: Path, stage: str, step: int) -> None:
    """Leave only what came before: other stages, and this one up to `step`."""
    kept = [entry for entry in read_journal(path) if entry["stage"] != stage or entry["step"] <= step]
    write_whole(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept))


class Journal(TrainerCallback):
    """Appends each log of the Trainer."""

    def __init__(self, path: Path, stage: str) -> None:
        self._path = path
        self._stage = stage

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Called with the loss, or with the figures of an evaluation."""
        del args, control, kwargs
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        entry = {"stage": self._stage, "step": state.global_step, "epoch": state.epoch, **logs}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
