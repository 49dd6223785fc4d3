"""`munjang train train`, `crossvalidate`, `publish` and `run`: what to do with a recipe and its run."""

from __future__ import annotations

import logging
import statistics
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from munjang.errors import ConfigurationError
from munjang.settings import TrainerSettings
from munjang_trainer.commands.evaluate import settings_with, show_comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_trainer.publishing import Published
    from munjang_trainer.recipe.schema import Recipe
    from munjang_trainer.training.run import TrainingRecord


RecipeName = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")]
Output = Annotated[Path | None, typer.Option(help="The run's folder. Default: <runs>/<recipe's name>.")]
Data = Annotated[str, typer.Option(help="The folder of the recipe's data files. Default: as the recipe says.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a value: stages.0.learning_rate=3e-5.")]

SIGNALLED = 128
"""What shells add to the number of the signal that ended a program."""


def train(recipe: RecipeName, *, output: Output = None, data: Data = "", set_: Set = None) -> None:
    """Train a recipe, or resume it where it was stopped or killed.

    On several GPUs: torchrun --nproc-per-node 4 -m munjang_trainer train RECIPE.

    Examples:
      munjang train train starter-ko --data ../shared/data

      munjang train train klue-roberta-nli --set stages.0.learning_rate=2e-5 --output runs/slow
    """
    train_recipe(recipe, output, data, set_ or [])


def train_recipe(name: str, output: Path | None, data: str, overrides: list[str]) -> Path:
    """Train, print the metrics, and return the run's folder."""
    from munjang_trainer.recipe.load import load_recipe  # noqa: PLC0415 - torch is slow to import; --help must not pay
    from munjang_trainer.training.callbacks import Interrupted  # noqa: PLC0415 - the same
    from munjang_trainer.training.distributed import is_main_process  # noqa: PLC0415 - the same
    from munjang_trainer.training.run import train as run_training  # noqa: PLC0415 - the same

    settings = TrainerSettings()
    recipe = load_recipe(name, data_folder=data or settings.data, overrides=overrides)
    folder = output or settings.runs_folder / recipe.name
    console = Console()
    quiet_libraries()
    try:
        record = run_training(recipe, folder, settings, console)
    except Interrupted as stop:
        console.print(f"[yellow]{stop}[/]", highlight=False)
        raise typer.Exit(SIGNALLED + stop.signal) from None
    if is_main_process():
        _print_result(console, record, folder)
    return folder


def _print_result(console: Console, record: TrainingRecord, folder: Path) -> None:
    figures = ", ".join(f"{figure} {value:.4f}" for figure, value in record.metrics.items())
    console.print(f"trained {folder / 'model'}: {figures}", highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """Keep the libraries' progress bars and messages off the terminal; warnings stay."""
    from datasets import disable_progress_bars  # noqa: PLC0415 - slow to import
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - slow to import

    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)


def crossvalidate(
    recipe: RecipeName,
    *,
    source: Annotated[str, typer.Option(help="The source whose rows are held out, fold by fold.")] = "sts",
    folds: Annotated[int, typer.Option(help="The number of folds.", min=2)] = 5,
    only: Annotated[list[int] | None, typer.Option(help="Train these folds only, counted from 0.")] = None,
    output: Output = None,
    data: Data = "",
    set_: Set = None,
) -> None:
    """Train a recipe once for each fold of a source, and show the metrics on the rows that were held out.

    Choose hyperparameters by these metrics, not by those of the sets that judge the model.

    Example:
      munjang train crossvalidate starter-ko --folds 5 --set stages.1.epochs=3
    """
    from munjang_trainer.recipe.load import load_recipe  # noqa: PLC0415 - torch is slow to import; --help must not pay
    from munjang_trainer.training.run import claim_run  # noqa: PLC0415 - the same
    from munjang_trainer.training.run import train as run_training  # noqa: PLC0415 - the same

    quiet_libraries()
    settings, console = TrainerSettings(), Console()
    chosen = only or list(range(folds))
    if not all(0 <= fold < folds for fold in chosen):
        msg = f"--only takes folds from 0 to {folds - 1}"
        raise ConfigurationError(msg, field="only")
    runs: list[tuple[Recipe, Path]] = []
    for fold in chosen:
        held = f"data.sources.{source}.hold_out={{folds: {folds}, fold: {fold}}}"
        one = load_recipe(recipe, data_folder=data or settings.data, overrides=[*(set_ or []), held])
        runs.append((one, (output or settings.runs_folder / f"{one.name}-folds") / f"{fold}-of-{folds}"))
    for one, folder in runs:  # refuse before hours of work, not after
        claim_run(folder, one)
    found: list[dict[str, float]] = []
    for fold, (one, folder) in zip(chosen, runs, strict=True):
        console.print(f"fold {fold} of {folds}", highlight=False)
        found.append(run_training(one, folder, settings, console).metrics)
    console.print(_grid(chosen, found))


def _grid(folds: Sequence[int], found: Sequence[dict[str, float]]) -> Grid:
    grid = Grid(title="figures by fold", title_justify="left")
    for column in ("figure", *map(str, folds), "mean", "deviation"):
        grid.add_column(column, justify="left" if column == "figure" else "right")
    for name in found[0]:
        values = [metrics[name] for metrics in found]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        grid.add_row(name, *(f"{value:.4f}" for value in (*values, statistics.mean(values), deviation)))
    return grid


Promote = Annotated[bool, typer.Option("--promote", help="Point the recipe's alias (stable) at the version.")]
Force = Annotated[bool, typer.Option("--force", help="Publish even what the gate refuses. Its manifest says so.")]
RegistryUrl = Annotated[str, typer.Option(help="The registry, a folder or URL. Default: MUNJANG_REGISTRY.")]


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    *,
    promote: Promote = False,
    force: Force = False,
    registry: RegistryUrl = "",
) -> None:
    """Publish a trained model if the gate passes it; otherwise print the reasons, with exit status 1.

    The saved model is loaded in a fresh process. It must have the metrics that it had in training, only finite values,
    only safetensors, the dimensions of the version that serves, and no metric below that version's by more than
    the recipe's margin (by the bootstrap interval of the difference, so that noise refuses nothing).

    Example:
      munjang train publish runs/starter-ko --promote
    """
    from munjang_trainer.publishing import publish_run  # noqa: PLC0415 - model libraries are slow to import

    console = Console()
    quiet_libraries()
    settings = settings_with(registry=registry)
    with console.status("gate") as status:
        published = publish_run(run, settings, promote=promote, force=force, tell=status.update)
    _print_published(console, published)


def _print_published(console: Console, published: Published) -> None:
    for reason in published.verdict.reasons:
        console.print(f"[yellow]the gate refused, overruled by --force[/]: {reason}", highlight=False, soft_wrap=True)
    if published.verdict.comparison:
        show_comparison(console, published.verdict.comparison)
    what = "published" if published.new else "was published before"
    alias = f"; {published.promoted} names it now" if published.promoted else ""
    console.print(f"version {published.version} {what}{alias}", highlight=False)


def run(
    recipe: RecipeName,
    *,
    output: Output = None,
    data: Data = "",
    set_: Set = None,
    promote: Promote = False,
    force: Force = False,
    registry: RegistryUrl = "",
) -> None:
    """Make a model from a recipe and publish it: data, training, evaluation, gate, registry.

    If it was stopped or killed, the same command resumes.

    Example:
      munjang train run starter-ko --data ../shared/data --promote
    """
    from munjang_trainer.training.distributed import is_main_process  # noqa: PLC0415 - torch is slow to import; --help must not pay

    folder = train_recipe(recipe, output, data, set_ or [])
    if is_main_process():
        publish(folder, promote=promote, force=force, registry=registry)
