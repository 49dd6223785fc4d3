"""`munjang_trainer crossvalidate`: how good a recipe is on rows of its own training data, each held out once."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from munjang.errors import ConfigurationError
from munjang.settings import TrainerSettings
from munjang_trainer.commands.train import Data, Output, RecipeName, Set, quieten

if TYPE_CHECKING:
    from collections.abc import Sequence


def crossvalidate(
    recipe: RecipeName,
    *,
    source: Annotated[str, typer.Option(help="The source whose rows are held out, fold by fold.")] = "sts",
    folds: Annotated[int, typer.Option(help="Into so many parts.", min=2)] = 5,
    only: Annotated[list[int] | None, typer.Option(help="Train these folds only, counted from 0.")] = None,
    output: Output = None,
    data: Data = "",
    set_: Set = None,
) -> None:
    """Train a recipe once for each fold of a source, and show the figures on the rows that were held out.

    Choose values by these figures and not by those of the sets that the model will be judged by.

    Example:
      munjang train crossvalidate starter-ko --folds 5 --set stages.1.epochs=3
    """
    from munjang_trainer.recipe.load import load_recipe  # noqa: PLC0415 - torch is slow to import; --help must not pay
    from munjang_trainer.training.run import train  # noqa: PLC0415 - the same

    quieten()
    settings, console = TrainerSettings(), Console()
    chosen = only or list(range(folds))
    if not all(0 <= fold < folds for fold in chosen):
        msg = f"--only takes folds from 0 to {folds - 1}"
        raise ConfigurationError(msg, field="only")
    found: list[dict[str, float]] = []
    for fold in chosen:
        held = f"data.sources.{source}.hold_out={{folds: {folds}, fold: {fold}}}"
        one = load_recipe(recipe, data_folder=data or settings.data, overrides=[*(set_ or []), held])
        folder = (output or settings.runs_folder / f"{one.name}-folds") / f"{fold}-of-{folds}"
        console.print(f"fold {fold} of {folds}", highlight=False)
        found.append(train(one, folder, settings, console).metrics)
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
