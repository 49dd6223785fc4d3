"""How long a forward takes by its tokens: what was measured, and what follows from it. Decides nothing."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left

UNMEASURED = 2000.0
"""Tokens a second that are assumed before the first measurement: a small model on one slow core."""

_WEIGHT = 0.2  # of a new sample against what is known
_OUTLIER = 4.0  # a sample counts as no more than so many times what is known, and no less than its inverse
_STALE = 1.25  # so many times what a forward of another size just showed cannot be true any more
_NEARLY = 0.95  # of the best speed is good enough
_LEAST = 1024  # tokens of a batch that needs no excuse: it also costs what lies between forwards, which is not measured
_SMALL = 256  # tokens of a batch whose time says little of larger ones


class Curve:
    """Seconds of a forward as a function of its tokens, padding included: a line through the means of size classes."""

    def __init__(self) -> None:
        self._means: dict[int, tuple[float, float]] = {}
        self._points: tuple[list[float], list[float]] = ([], [])  # replaced whole, since other threads read it
        self._enough = 0  # the same

    def record(self, tokens: int, seconds: float) -> None:
        """Learn from one forward."""
        seconds = max(seconds, 1e-7)
        size_class = tokens.bit_length()
        known = self._means.get(size_class)
        if known is None:
            self._means[size_class] = (tokens, seconds)
        else:
            size, mean = known
            expected = mean * tokens / size
            seconds = min(max(seconds, expected / _OUTLIER), expected * _OUTLIER)
            self._means[size_class] = (size + _WEIGHT * (tokens - size), mean + _WEIGHT * (seconds - mean))
        self._correct_others(*self._means[size_class])
        self._draw()

    def _correct_others(self, size: float, mean: float) -> None:
        """Bound what is known of other sizes by what was learned just now.

        A smaller forward does not take longer, nor a larger one longer a token. So the sizes that nobody sends, or that
        are held too slow for anybody, do not keep what a slow spell of the machine taught.
        """
        for size_class, (other, seconds) in self._means.items():
            most = _STALE * mean * max(1.0, other / size)
            self._means[size_class] = (other, min(seconds, most))

    def forget(self, tokens: int) -> None:
        """Forget what was learned of forwards of about so many tokens, if more is known."""
        if len(self._means) > 1 and self._means.pop(tokens.bit_length(), None) is not None:
            self._draw()

    def _draw(self) -> None:
        points = sorted(self._means.values())
        self._points = [size for size, _ in points], [mean for _, mean in points]
        self._enough = _enough(*self._points)

    @property
    def measured(self) -> bool:
        """Whether it has learned anything."""
        return bool(self._means)

    def seconds(self, tokens: float) -> float:
        """The expected seconds of a forward of so many tokens; cautious outside of what was measured."""
        sizes, seconds = self._points
        if not sizes:
            return tokens / UNMEASURED
        if tokens >= sizes[-1]:
            return _above(tokens, sizes[-1], seconds[-1])
        if tokens <= sizes[0]:
            return _below(tokens, sizes, seconds)
        right = bisect_left(sizes, tokens)
        part = (tokens - sizes[right - 1]) / (sizes[right] - sizes[right - 1])
        return seconds[right - 1] + part * (seconds[right] - seconds[right - 1])

    def tokens_within(self, seconds: float, most: int) -> int:
        """The most tokens, at most `most`, whose forward is expected to end within so many seconds; maybe 0."""
        if self.seconds(most) <= seconds:
            return most
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.seconds(middle) <= seconds else (low, middle)
        return low

    def enough(self, most: int) -> int:
        """The smallest batch nearly as fast a token as the fastest known: 1,024 tokens at least, `most` at most.

        Larger ones only make others wait longer. If it is the largest that was ever measured, twice as many tokens are
        tried.
        """
        return min(most, self._enough) if self._enough else most


def _enough(sizes: list[float], seconds: list[float]) -> int:
    best = max(map(operator.truediv, sizes, seconds))
    for size, mean in zip(sizes[:-1], seconds, strict=False):
        if size / mean >= _NEARLY * best:
            return max(_LEAST, math.ceil(size))
    return max(_LEAST, math.ceil(2 * sizes[-1]))


def _above(tokens: float, size: float, seconds: float) -> float:
    """Above the largest size measured: in proportion; where that size was small, most of its time was the start."""
    in_proportion = seconds * tokens / size
    return in_proportion if size >= _SMALL else min(in_proportion, seconds + (tokens - size) / UNMEASURED)


def _below(tokens: float, sizes: list[float], seconds: list[float]) -> float:
    """Below the smallest size measured: along the first line, where there is one, else as long as the smallest."""
    if len(sizes) == 1:
        return seconds[0]
    slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
    return min(seconds[0], max(seconds[0] * tokens / sizes[0], seconds[0] - slope * (sizes[0] - tokens)))
