"""The results of a load: throughput, latency percentiles, errors by reason; as a record, a table and a plot."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.cli.tables import Column, fitted
from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.table import Table

    from munjang.cli.load_generator import Sample

TICKS = {0.0: "0 %", 1.0: "90 %", 2.0: "99 %", 3.0: "99.9 %", 4.0: "99.99 %"}

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


@dataclass(frozen=True)
class Run:
    """One run. Latencies are those of answered calls whose intended start is in the measured time.

    Attributes:
        mode: closed or open.
        load: callers in a closed loop, calls a second in an open one.
        batch: texts in a call.
        seconds: that were measured.
        calls: whose intended start is in these seconds.
        failed: of these, by reason.
        calls_per_second: that were answered within the measured time.
        texts_per_second: of these.
        tokens_per_second: of these.
        latency_ms: percentiles, mean and max, in milliseconds.
        lag_ms: how late calls began at the 99th percentile: the part of the latency that the generator causes.
        versions: answered calls by model version.
    """

    mode: str
    load: float
    batch: int
    seconds: float
    calls: int
    failed: dict[str, int]
    calls_per_second: float
    texts_per_second: float
    tokens_per_second: float
    latency_ms: dict[str, float]
    lag_ms: float
    versions: dict[int, int]

    @property
    def name(self) -> str:
        """Its load in words."""
        return load_name(self.mode, self.load)

    def json(self) -> dict[str, Any]:
        """The run as JSON."""
        return asdict(self)


def load_name(mode: str, amount: float) -> str:
    """A load in words: `16 callers`, `50 calls/s`."""
    if mode == "open":
        return f"{amount:g} calls/s"
    return f"{amount:g} caller{'s' if amount > 1 else ''}"


def summarise(
    samples: Sequence[Sample], *, mode: str, load: float, batch: int, warmup: float, seconds: float
) -> tuple[Run, NDArray[np.float64]]:
    """The results of a run of `warmup` + `seconds`, and its latencies in milliseconds, ascending."""
    end = warmup + seconds
    measured = [sample for sample in samples if warmup <= sample.intended < end]
    answered = [sample for sample in measured if not sample.reason]
    done = [sample for sample in samples if not sample.reason and warmup <= sample.ended < end]
    latencies = np.sort([1000 * (sample.ended - sample.intended) for sample in answered]).astype(np.float64)
    lags = [1000 * (sample.begun - sample.intended) for sample in measured]
    run = Run(
        mode=mode,
        load=load,
        batch=batch,
        seconds=seconds,
        calls=len(measured),
        failed=dict(Counter(sample.reason for sample in measured if sample.reason).most_common()),
        calls_per_second=len(done) / seconds,
        texts_per_second=batch * len(done) / seconds,
        tokens_per_second=sum(sample.tokens for sample in done) / seconds,
        latency_ms=_latency(latencies),
        lag_ms=float(np.percentile(lags, 99)) if lags else 0.0,
        versions=dict(sorted(Counter(sample.version for sample in answered).items())),
    )
    return run, latencies


def table(runs: Sequence[Run], title: str, width: int) -> Table:
    """The runs as a table of at most `width` characters."""
    rates = [Column("calls/s", 5, right=True), Column("texts/s", right=True), Column("tokens/s", 4, right=True)]
    ranks = {"p50": 0, "p95": 1, "p99": 0}
    latencies = [Column(f"{name} ms", ranks.get(name, 3), right=True) for name in PERCENTILES]
    rows = []
    for run in runs:
        speeds = (run.calls_per_second, run.texts_per_second, run.tokens_per_second)
        latency = [f"{run.latency_ms[name]:.1f}" if run.latency_ms else "–" for name in PERCENTILES]
        failed = ", ".join(f"{count} {reason}" for reason, count in run.failed.items()) or "none"
        rows.append([run.name, *(f"{rate:,.1f}" for rate in speeds), *latency, failed])
    return fitted([Column("load"), *rates, *latencies, Column("failed", folds=True)], rows, width, title)


def _latency(latencies: NDArray[np.float64]) -> dict[str, float]:
    """Percentiles that are latencies of real calls, never a value between two."""
    if not latencies.size:
        return {}
    found = {name: float(np.percentile(latencies, share, method="inverted_cdf")) for name, share in PERCENTILES.items()}
    return {"mean": float(latencies.mean())} | found


def check_plotting() -> None:
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


def plot(runs: Sequence[Run], latencies: Sequence[NDArray[np.float64]], title: str, path: Path) -> None:
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
