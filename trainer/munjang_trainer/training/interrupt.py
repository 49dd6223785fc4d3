"""SIGTERM and Ctrl-C while training: finish the step, write a checkpoint, stop. A second signal ends at once."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import distributed
from transformers import TrainerCallback

from munjang.errors import MunjangError

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(MunjangError):
    """Training was told to stop; the same command goes on with it.

    Attributes:
        signal: the signal's number.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Interrupt(TrainerCallback):
    """A context in which signals ask the training to stop at the end of its step."""

    def __init__(self) -> None:
        self.received = 0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over; only the main thread can, elsewhere they stay as they are."""
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Give them back."""
        for number, old in self._old.items():
            signal.signal(number, old)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Save and stop if any process was told to; all processes agree, or they would wait for each other for ever."""
        del state, kwargs
        if distributed.is_initialized():
            told = torch.tensor(self.received, device=args.device)
            distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
            self.received = int(told)
        if self.received:
            control.should_save = True
            control.should_training_stop = True
        return control

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        signal.signal(number, self._old[number])
