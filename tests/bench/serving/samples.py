"""What many calls come to: percentiles, those inside and outside of windows of time, second by second. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from munjang.cli.load_generator import Sample

Window = tuple[float, float]
"""Seconds of the run from which and to which."""


def percentile(values: Iterable[float], share: float) -> float:
    """The least of the values below or at which this share of them lies; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def latencies(samples: Iterable[Sample]) -> dict[str, float]:
    """Count, p50, p99 and highest of answered calls, in milliseconds from when each should have begun."""
    values = [1000 * (sample.ended - sample.intended) for sample in samples if not sample.reason]
    if not values:
        return {"calls": 0}
    found = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
    return {"calls": len(values), **found}


def divide(samples: Iterable[Sample], windows: Sequence[Window]) -> tuple[list[Sample], list[Sample]]:
    """Calls of which some part lies in a window, and all others."""
    inside: list[Sample] = []
    outside: list[Sample] = []
    for sample in samples:
        touched = any(sample.intended <= end and sample.ended >= begin for begin, end in windows)
        (inside if touched else outside).append(sample)
    return inside, outside


def failures(samples: Iterable[Sample]) -> dict[str, int]:
    """Failed calls by reason, the commonest first."""
    return dict(Counter(sample.reason for sample in samples if sample.reason).most_common())


def timeline(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Second by second of the run: when it began, answered calls and their latencies, and failed ones."""
    seconds: defaultdict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        seconds[int(sample.intended)].append(sample)
    return [
        {"second": second, **latencies(found), "failed": sum(bool(sample.reason) for sample in found)}
        for second, found in sorted(seconds.items())
    ]
