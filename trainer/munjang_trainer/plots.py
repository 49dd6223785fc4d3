"""Charts as PNG, drawn without a screen: evaluation results and training curves."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from munjang_trainer.evaluation.metrics import MAIN_METRIC

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang_trainer.evaluation.results import Results


HANGUL_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")


def _new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG; its folder is made if missing. Hangul needs one of the known fonts, else boxes appear instead."""
    installed = set(font_manager.get_font_names())
    families = [*(name for name in HANGUL_FONTS if name in installed), "DejaVu Sans"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, dpi=120)


def plot(path: Path, models: Sequence[Results]) -> None:
    """Draw one or two models into a PNG."""
    figure = _new_figure(width=11, height=4.5)
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
    _save(figure, path)


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
        plain, *others = result.by_format().items()
        forms = {
            name: figures[result.main] / plain[1][result.main] for name, figures in others if plain[1][result.main]
        }
        if forms:
            axes.plot(list(forms), list(forms.values()), marker="o", label=f"{results.model} {name}"[-40:])


SHOWN = tuple(f".{figure}" for figure in MAIN_METRIC.values())


def draw_curves(journal: list[dict[str, Any]], picture: Path) -> None:
    """Draw the entries of a journal as PNG; stages follow each other, separated by a line."""
    entries, borders = _in_row(journal)
    figure = _new_figure(width=12, height=4)
    loss, rate, figures = figure.subplots(1, 3)
    _line(loss, entries, "loss")
    _line(rate, entries, "learning_rate")
    for name in sorted({key for entry in entries for key in entry if key.endswith(SHOWN)}):
        _line(figures, entries, name)
    for axes, title in ((loss, "loss"), (rate, "learning rate"), (figures, "evaluation")):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        for border in borders:
            axes.axvline(border, color="grey", linewidth=0.8, linestyle=":")
    if figures.get_legend_handles_labels()[1]:
        figures.legend(fontsize=8)
    _save(figure, picture)


def _in_row(entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[int]]:
    """Entries with steps counted over all stages, and where stages meet."""
    rowed: list[dict[str, Any]] = []
    borders: list[int] = []
    offset = last = 0
    stage = entries[0]["stage"] if entries else ""
    for entry in entries:
        if entry["stage"] != stage:
            stage, offset = entry["stage"], last
            borders.append(offset)
        last = offset + entry["step"]
        rowed.append(entry | {"step": last})
    return rowed, borders


def _line(axes: Any, entries: list[dict[str, Any]], name: str) -> None:
    points = [(entry["step"], entry[name]) for entry in entries if entry.get(name) is not None]
    if points:
        marker = "." if len(points) < 100 else ""  # noqa: PLR2004 - more dots would be a smear
        axes.plot(*zip(*points, strict=True), marker=marker, label=name.removeprefix("eval_"))
