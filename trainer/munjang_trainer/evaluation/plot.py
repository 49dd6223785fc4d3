"""Results as a picture: each set's main figure with its interval, and what cuts and number formats cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang_trainer.figure import new_figure, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang_trainer.evaluation.results import Results


def plot(path: Path, models: Sequence[Results]) -> None:
    """Draw one or two models into a PNG."""
    figure = new_figure(width=11, height=4.5)
    left, right = figure.subplots(1, 2)
    for number, results in enumerate(models):
        _intervals(left, results, number, len(models))
        _forms(right, results)
    left.set_xlabel("main figure, with its interval")
    left.invert_yaxis()
    right.set_ylabel("main figure of the form / of float32")
    right.tick_params(axis="x", rotation=60)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save(figure, path)


def _intervals(axes: Any, results: Results, number: int, count: int) -> None:
    names = list(results.sets)
    places = [place + 0.2 * (number - (count - 1) / 2) for place in range(len(names))]
    spreads = [results.sets[name].interval for name in names]
    errors = [[s.value - s.low for s in spreads], [s.high - s.value for s in spreads]]
    values = [s.value for s in spreads]
    axes.errorbar(values, places, xerr=errors, fmt="o", capsize=3, label=results.model)
    axes.set_yticks(range(len(names)), [f"{name}\n{results.sets[name].main}" for name in names], fontsize=8)


def _forms(axes: Any, results: Results) -> None:
    for name, result in results.sets.items():
        forms = {
            key.rpartition(".")[0]: value / result.figures[result.main]
            for key, value in result.figures.items()
            if key.rpartition(".")[2] == result.main and "." in key and result.figures[result.main]
        }
        if forms:
            axes.plot(list(forms), list(forms.values()), marker="o", label=f"{results.model} {name}"[-40:])
