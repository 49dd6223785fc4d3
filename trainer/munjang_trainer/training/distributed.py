"""Several processes of one training (torchrun, accelerate): which goes first, which writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from accelerate import PartialState
from torch import distributed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def init_processes(device: str) -> PartialState:
    """Join the other processes, if there are any."""
    return PartialState(cpu=on_cpu(device))


def on_cpu(device: str) -> bool:
    """Whether training runs on the CPU: by the setting, or because there is no GPU."""
    return device == "cpu" or not torch.accelerator.is_available()


def world_size() -> int:
    """How many processes this training has."""
    return int(PartialState().num_processes)


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return bool(PartialState().is_main_process)


def main_process_first() -> AbstractContextManager[None]:
    """A block that the main process runs first; the others then find its result."""
    context: AbstractContextManager[None] = PartialState().main_process_first()
    return context


def barrier() -> None:
    """Wait until every process is here."""
    PartialState().wait_for_everyone()


def destroy_processes() -> None:
    """Leave the group, so that no process is left waiting."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
