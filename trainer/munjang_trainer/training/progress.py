"""A bar with step, loss and time left; lines instead of a bar where the output is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

from munjang_trainer.evaluation.figures import MAIN

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import TrainerControl, TrainerState, TrainingArguments


MAIN_FIGURES = tuple(f".{figure}" for figure in MAIN.values())


class ProgressBar(TrainerCallback):
    """Shows how far a stage is."""

    def __init__(self, console: Console, stage: str) -> None:
        self._console = console
        self._stage = stage
        self._bar: Progress | None = None
        self._task: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar, at the step that is resumed from."""
        del args, control, kwargs
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

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        del args, control, kwargs
        if self._bar:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the loss; figures of evaluations stay above the bar."""
        del args, control, kwargs
        if not state.is_world_process_zero or not logs:
            return
        if self._bar and "loss" in logs:
            self._bar.update(self._task, loss=f"{logs['loss']:.4f}")
        if not self._bar or "loss" not in logs:
            self._say(state, logs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        del args, state, control, kwargs
        self.close()

    def close(self) -> None:
        """Take the bar away, also where training ended by an error."""
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
