"""Callbacks of the Trainer: the journal, the progress bar, and stopping on a signal."""

from __future__ import annotations

import json
import math
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import distributed
from transformers import TrainerCallback

from munjang.errors import MunjangError
from munjang_trainer.evaluation.metrics import MAIN_METRIC
from munjang_trainer.output_files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from rich.console import Console
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
    """Keep only earlier entries: other stages, and this one up to `step`."""
    kept = [entry for entry in read_journal(path) if entry["stage"] != stage or entry["step"] <= step]
    write_atomically(path, "".join(map(_journal_line, kept)))


def _journal_line(entry: dict[str, Any]) -> str:
    """An entry as JSON, which has no NaN and no infinity: they become null."""
    finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in entry.items()}
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"


class JournalCallback(TrainerCallback):
    """Appends each log of the Trainer."""

    def __init__(self, path: Path, stage: str) -> None:
        self._path = path
        self._stage = stage

    def on_log(self, _args: Any, state: TrainerState, _control: Any, logs: dict[str, float], **_: Any) -> None:
        """Called with the loss, or with the metrics of an evaluation."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        entry = {"stage": self._stage, "step": state.global_step, "epoch": state.epoch, **logs}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_journal_line(entry))


MAIN_FIGURES = tuple(f".{figure}" for figure in MAIN_METRIC.values())


class ProgressBar(TrainerCallback):
    """Shows the progress of a stage."""

    def __init__(self, console: Console, stage: str) -> None:
        self._console = console
        self._stage = stage
        self._bar: Progress | None = None
        self._task: Any = None

    def on_train_begin(self, _args: Any, state: TrainerState, _control: Any, **_: Any) -> None:
        """Show the bar, at the step that is resumed from."""
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(self._stage, total=state.max_steps, completed=state.global_step, loss="…")
        self._bar.start()

    def on_step_end(self, _args: Any, state: TrainerState, _control: Any, **_: Any) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(self, _args: Any, state: TrainerState, _control: Any, logs: dict[str, float], **_: Any) -> None:
        """Show the loss; metrics of evaluations stay above the bar."""
        if not state.is_world_process_zero or not logs:
            return
        if self._bar and "loss" in logs:
            self._bar.update(self._task, loss=f"{logs['loss']:.4f}")
        if not self._bar or "loss" not in logs:
            self._say(state, logs)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Remove the bar."""
        self.close()

    def close(self) -> None:
        """Remove the bar, even if training ended by an error."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _say(self, state: TrainerState, logs: dict[str, float]) -> None:
        shown = {
            key: value
            for key, value in logs.items()
            if key == "loss" or (key.startswith("eval_") and key.endswith(MAIN_FIGURES))
        }
        if shown:
            figures = ", ".join(f"{key.removeprefix('eval_')} {value:.4f}" for key, value in shown.items())
            self._console.print(f"{self._stage} step {state.global_step}/{state.max_steps}: {figures}", highlight=False)


SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(MunjangError):
    """Training was asked to stop; the same command resumes it.

    Attributes:
        signal: the signal's number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class StopOnSignal(TrainerCallback):
    """A context in which a signal stops the training at the end of its step."""

    def __init__(self) -> None:
        self.received = 0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers; only the main thread can, on others nothing changes."""
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Restore the handlers."""
        for number, old in self._old.items():
            signal.signal(number, old)

    def on_step_end(self, args: TrainingArguments, _state: Any, control: TrainerControl, **_: Any) -> None:
        """Save and stop if any process was asked to; all processes agree, or they would deadlock."""
        if distributed.is_initialized():
            told = torch.tensor(self.received, device=args.device)
            distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
            self.received = int(told)
        if self.received:
            control.should_save = True
            control.should_training_stop = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        signal.signal(number, self._old[number])
