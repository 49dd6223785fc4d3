"""`munjang train train`: the stages of a recipe."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from munjang.settings import TrainerSettings

if TYPE_CHECKING:
    from munjang_trainer.training.record import TrainingRecord

RecipeName = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")]
Output = Annotated[Path | None, typer.Option(help="The run's folder. Default: <runs>/<recipe's name>.")]
Data = Annotated[str, typer.Option(help="Where the recipe's data files lie. Default: as the recipe says.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Overrule a value: stages.0.learning_rate=3e-5.")]

SIGNALLED = 128
"""What shells add to the number of a signal that ended a program."""


def train(recipe: RecipeName, *, output: Output = None, data: Data = "", set_: Set = None) -> None:
    """Train a recipe, or go on with it where it was stopped or killed.

    On several GPUs: torchrun --nproc-per-node 4 -m trainer train RECIPE.

    Examples:
      munjang train train starter-ko --data ../shared/data

      munjang train train klue-roberta-nli --set stages.0.learning_rate=2e-5 --output runs/slow
    """
    train_recipe(recipe, output, data, set_ or [])


def train_recipe(name: str, output: Path | None, data: str, overrides: list[str]) -> Path:
    """Train, print the figures, and return the run's folder."""
    from munjang_trainer.recipe.load import load_recipe  # noqa: PLC0415 - torch is slow to import; --help must not pay
    from munjang_trainer.training.interrupt import Interrupted  # noqa: PLC0415 - the same
    from munjang_trainer.training.run import train as run  # noqa: PLC0415 - the same
    from munjang_trainer.training.world import is_first  # noqa: PLC0415 - the same

    settings = TrainerSettings()
    recipe = load_recipe(name, data_folder=data or settings.data, overrides=overrides)
    folder = output or settings.runs_folder / recipe.name
    console = Console()
    quieten()
    try:
        record = run(recipe, folder, settings, console)
    except Interrupted as stop:
        console.print(f"[yellow]{stop}[/]", highlight=False)
        raise typer.Exit(SIGNALLED + stop.signal) from None
    if is_first():
        _say(console, record, folder)
    return folder


def _say(console: Console, record: TrainingRecord, folder: Path) -> None:
    figures = ", ".join(f"{figure} {value:.4f}" for figure, value in record.metrics.items())
    console.print(f"trained {folder / 'model'}: {figures}", highlight=False, soft_wrap=True)


def quieten() -> None:
    """Keep the libraries' bars and remarks off the terminal; warnings stay."""
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - slow to import

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)
