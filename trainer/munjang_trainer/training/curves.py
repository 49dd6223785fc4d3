"""The journal as a picture: loss, learning rate and figures over the steps of all stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from munjang_trainer.evaluation.figures import MAIN
from munjang_trainer.figure import new_figure, save
from munjang_trainer.training.journal import read_journal

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = tuple(f".{figure}" for figure in MAIN.values())


def draw_curves(journal: Path, picture: Path) -> None:
    """Draw a PNG; stages follow each other, with a line between them."""
    entries, borders = _in_row(read_journal(journal))
    figure = new_figure(width=12, height=4)
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
    save(figure, picture)


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
    points = [(entry["step"], entry[name]) for entry in entries if name in entry]
    if points:
        marker = "." if len(points) < 100 else ""  # noqa: PLR2004 - more dots would be a smear
        axes.plot(*zip(*points, strict=True), marker=marker, label=name.removeprefix("eval_"))
