"""A picture of runs: the whole latency distribution of each, and latency against throughput. Needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.cli.load.stats import Run

TICKS = {0.0: "0 %", 1.0: "90 %", 2.0: "99 %", 3.0: "99.9 %", 4.0: "99.99 %"}


def check_available() -> None:
    """Refuse before the load is run.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only a plot needs it
    except ModuleNotFoundError as error:
        msg = "a plot needs matplotlib: pip install matplotlib"
        raise ConfigurationError(msg, field="plot") from error
    mpl.use("Agg")


def draw(runs: Sequence[Run], latencies: Sequence[NDArray[np.float64]], title: str, path: Path) -> None:
    """Write a PNG (or what the file's ending says)."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    for run, values in zip(runs, latencies, strict=True):
        if values.size:
            share = (np.arange(values.size) + 0.5) / values.size
            left.plot(-np.log10(1 - share), values, label=run.name)
    left.set(xlabel="share of calls answered within", ylabel="latency, ms", yscale="log", title="latency distribution")
    left.set_xticks(list(TICKS), list(TICKS.values()))
    left.grid(visible=True, which="both", alpha=0.3)
    if left.lines:
        left.legend()
    shown = [run for run in runs if run.latency_ms]
    for name in ("p50", "p95", "p99"):
        right.plot([run.texts_per_second for run in shown], [run.latency_ms[name] for run in shown], "o-", label=name)
    right.set(xlabel="texts answered a second", ylabel="latency, ms", yscale="log", title="latency and throughput")
    right.grid(visible=True, which="both", alpha=0.3)
    right.legend()
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        msg = f"the plot cannot be written to {path}: {error}"
        raise ConfigurationError(msg, field="plot") from error
    finally:
        plt.close(figure)
