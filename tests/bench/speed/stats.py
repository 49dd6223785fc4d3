"""What several rounds of a measurement come to: medians, spread, ratios within rounds. Pure; knows no benchmark."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


def summary(values: Sequence[float]) -> dict[str, object]:
    """Median, lowest, highest, and the values themselves in the order of their rounds.

    Raises:
        ValueError: there are none.
    """
    if not values:
        msg = "there are no values to sum up"
        raise ValueError(msg)
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "rounds": list(values)}


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios round by round: what a machine that slows down for a minute does not distort."""
    return statistics.median(value / other for value, other in zip(values, base, strict=False))


def interleave(contestants: Mapping[str, Callable[[], T]], rounds: int, seconds: float) -> dict[str, list[T]]:
    """Run all contestants round after round, each round beginning with another one; what each gave, by name.

    At least one round is run, at most `rounds`, and none begins that would end after `seconds` if it took as long as
    the longest before it.
    """
    names = list(contestants)
    values: dict[str, list[T]] = {name: [] for name in names}
    begun, longest = time.monotonic(), 0.0
    for number in range(rounds):
        start = time.monotonic()
        if number and start - begun + longest > seconds:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            values[name].append(contestants[name]())
        longest = max(longest, time.monotonic() - start)
    return values


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent e of the best fit seconds ~ sizes ** e: 1 is linear. Least squares on logarithms.

    Raises:
        statistics.StatisticsError: fewer than two sizes.
    """
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(t) for t in seconds]).slope
