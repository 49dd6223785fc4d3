"""How fast the engine is: the curves of the versions that ran lately, and how much goes by. Decides nothing."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict

from munjang_server.batching.curve import Curve

_VERSIONS = 8  # curves to keep


class Flow:
    """Tokens a second over the last few seconds, fading."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._rate = 0.0
        self._at = 0.0

    def add(self, tokens: int, now: float) -> None:
        """So many tokens went by."""
        self._rate = self.rate(now) + tokens / self._seconds
        self._at = now

    def rate(self, now: float) -> float:
        """Tokens a second."""
        return self._rate * math.exp(min(0.0, self._at - now) / self._seconds)


class SpeedMeter:
    """The curves of the last few versions. A version that was never run is taken to be like the one that ran last.

    Engine threads teach it, any may read.
    """

    def __init__(self) -> None:
        self._curves: OrderedDict[int, Curve] = OrderedDict()
        self._last = Curve()
        self._lock = threading.Lock()

    def record(self, version: int, tokens: int, seconds: float) -> None:
        """Learn from one forward that succeeded."""
        with self._lock:
            curve = self._curves.get(version)
            if curve is None:
                curve = self._curves[version] = Curve()
                if len(self._curves) > _VERSIONS:
                    self._curves.popitem(last=False)
            curve.record(tokens, seconds)
            self._last = curve

    def forget(self, version: int, tokens: int) -> None:
        """Learn anew how long a version's forwards of about so many tokens take."""
        with self._lock:
            self.curve(version).forget(tokens)

    def curve(self, version: int | None) -> Curve:
        """The curve of a version, or of the one that ran last."""
        return self._last if version is None else self._curves.get(version, self._last)

    def measured(self, version: int) -> bool:
        """Whether this very version has been measured."""
        return version in self._curves

    def tokens_per_second(self, budget: int) -> float:
        """Tokens a second in batches of `budget`; 0 before the first measurement."""
        return budget / self._last.seconds(budget) if self._last.measured else 0.0
