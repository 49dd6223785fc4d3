"""The pictures of the page, drawn by matplotlib from figures."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from tests.bench.speed import lead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def draw(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw what there are figures for; file names by section."""
    makers = {
        "served": ("speed-served.svg", _served),
        "overhead": ("speed-call.svg", _call),
        "linear": ("speed-linear.svg", _linear),
    }
    drawn = save(makers, figures, folder)
    if "served" in drawn and lead.bars(figures["served"]):
        drawn |= {"lead": save({"served": ("speed-chart.svg", _bars)}, figures, folder)["served"]}
    return drawn


def save(
    makers: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]], figures: dict[str, Any], folder: Path
) -> dict[str, str]:
    """Draw each section's picture, into its file, where there are figures for it; file names by section.

    The same figures give the same file.
    """
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it names every font that is not installed
    mpl.rcParams["svg.hashsalt"] = "munjang"
    drawn = {}
    for section, (file, make) in makers.items():
        if section in figures and "failed" not in figures[section]:
            figure = make(figures[section])
            figure.savefig(folder / file, metadata={"Date": None})
            plt.close(figure)
            drawn[section] = file
    return drawn


def _bars(found: dict[str, Any]) -> Any:
    """Sentences a second by server, as bars with their figures beside them."""
    rates = dict(reversed(lead.bars(found).items()))
    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.4 * len(rates)), layout="constrained")
    colours = ["#00897b" if name == "munjang" else "#b0bec5" for name in rates]
    drawn = axes.barh(list(rates), list(rates.values()), color=colours)
    axes.bar_label(drawn, [f"{rate:,.0f}" for rate in rates.values()], padding=4)
    axes.set_title(f"sentences a second, {lead.CALLERS} callers", loc="left", fontsize=11)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    return figure


def _served(found: dict[str, Any]) -> Any:
    """Throughput against latency: one line a server, one point a number of callers."""
    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    cases = [case for case in found["cases"] if case["batch"] == 1]
    for name in dict.fromkeys(name for case in cases for name in case["servers"]):
        rows = [(case["callers"], case["servers"][name]) for case in cases if name in case["servers"]]
        if "p50" not in rows[0][1]:
            continue
        rates = [row["texts_per_second"]["median"] for _, row in rows]
        (line,) = axes.plot(rates, [row["p50"]["median"] for _, row in rows], "o-", label=name)
        axes.plot(rates, [row["p99"]["median"] for _, row in rows], "v:", color=line.get_color(), alpha=0.6)
        for (callers, row), rate in zip(rows, rates, strict=True):
            axes.annotate(str(callers), (rate, row["p50"]["median"]), fontsize=7)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="sentences answered a second (the number at a point: callers)",
        ylabel="latency, ms: p50 —, p99 ···",
        title="one sentence a call",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _call(found: dict[str, Any]) -> Any:
    """The parts of one call side by side in one bar."""
    figure, axes = plt.subplots(figsize=(10, 2.6), layout="constrained")
    names = ("gRPC alone", "tokenise", "forward", "normalise and pack")
    parts = {name: found["parts_ms"][name]["median"] for name in names}
    parts["hand-offs and batching"] = max(0.0, found["rest_ms"]["median"])
    left = 0.0
    for name, width in parts.items():
        axes.barh([0], [width], left=left, label=f"{name}: {width:.2f} ms")
        left += width
    axes.set(xlabel="ms", yticks=[], title="where the time of one call goes")
    figure.legend(ncols=3, fontsize=8, loc="outside lower center")
    return figure


def _linear(found: dict[str, Any]) -> Any:
    """Time against texts, and against tokens."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name, label in (("texts", "the model"), ("texts_tiny_model", "two tiny layers")):
        left.plot(found[name]["sizes"], found[name]["seconds"], "o-", label=label)
    right.plot(found["tokens"]["sizes"], found["tokens"]["seconds"], "o-")
    left.set(xscale="log", yscale="log", xlabel="texts", ylabel="s", title="time by number of texts")
    right.set(xscale="log", yscale="log", xlabel="tokens of a text", ylabel="s a text", title="time by tokens")
    left.legend()
    for axes in (left, right):
        axes.grid(visible=True, which="both", alpha=0.3)
    return figure
