"""The pictures of the page, drawn by matplotlib from figures: latencies second by second, and what happened then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.speed.plots import plt, save

if TYPE_CHECKING:
    from pathlib import Path


def draw(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw what there are figures for; file names by section."""
    makers = {"swaps": ("serving-swaps.svg", _swaps), "restart": ("serving-restart.svg", _restart)}
    return save(makers, figures, folder)


def _swaps(found: dict[str, Any]) -> Any:
    """Both servers, swaps shaded."""
    figure, axes = plt.subplots(2, 1, figsize=(10, 7), layout="constrained")
    titles = {"resident": "the previous version is kept", "loading": "every swap loads"}
    for part, (name, title) in zip(axes, titles.items(), strict=True):
        _latency(part, found[name]["timeline"])
        for begin, end in found[name]["windows"]:
            part.axvspan(begin, end, color="tab:orange", alpha=0.15, linewidth=0)
        part.set_title(f"{title}; swaps are shaded")
    return figure


def _restart(found: dict[str, Any]) -> Any:
    """Events as lines."""
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    _latency(axes, found["timeline"])
    for event in found["events"]:
        ends = event["event"] != "answers again"
        axes.axvline(event["second"], color="tab:red" if ends else "tab:green", alpha=0.5, linewidth=1)
    axes.set_title("servers end (red) and answer again (green)")
    return figure


def _latency(axes: Any, timeline: list[dict[str, Any]]) -> None:
    answered = [part for part in timeline if part["calls"]]
    seconds = [part["second"] + 0.5 for part in answered]
    for name in ("p50", "p99"):
        axes.plot(seconds, [part[name] for part in answered], label=name)
    axes.set(xlabel="seconds", ylabel="latency, ms", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
