"""How large the next batch may be: the memory that there is, the speed that was measured, who else is about."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from munjang_server.batching.contract import Lane

if TYPE_CHECKING:
    from munjang.settings import BatchSettings
    from munjang_server.batching.curve import Curve
    from munjang_server.batching.speed import SpeedMeter

LONGEST = 0.08
"""Seconds of a batch: a longer one is little faster a token, those behind it wait, and more give up while it runs."""

_LEAST = 256  # tokens of a batch, however slow the machine
_LEAST_TURN = 64  # the same of bulk beside interactive calls
_GROW_AFTER = 16  # full batches without trouble before the budget grows again
_GROWTH = 1.25


class Budget:
    """The most tokens of a batch: the setting, and less for a while after memory ran out. For the engine's threads."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.now = full
        self._calm = 0
        self._lock = threading.Lock()

    def shrink(self, tokens: int) -> None:
        """A batch of so many tokens did not fit: allow half of it."""
        with self._lock:
            self.now = max(1, min(self.now, tokens // 2))
            self._calm = 0

    def grow(self, tokens: int) -> None:
        """A forward fitted: after enough of them that used at least half the budget, allow a little more."""
        with self._lock:
            if self.now < self.full and 2 * tokens >= self.now:
                self._calm += 1
                if self._calm >= _GROW_AFTER:
                    self.now = min(self.full, int(self.now * _GROWTH) + 1)
                    self._calm = 0


class Pace:
    """The limits of the batch that is formed now. Under the inbox's lock."""

    def __init__(self, settings: BatchSettings, speed: SpeedMeter) -> None:
        self._settings = settings
        self._speed = speed
        self._interactive_until = float("-inf")
        self.budget = Budget(settings.batch_tokens)

    def saw_interactive(self, now: float) -> None:
        """An interactive call came."""
        self._interactive_until = now + self._settings.bulk_yield_seconds

    def horizon(self, lane: Lane, waiting: int, now: float, share: int = 1) -> float:
        """When a batch formed now will end, if so many tokens wait: a deadline before that cannot be met any more."""
        tokens = min(waiting, self.turn(lane, None, now, share=share))
        return now + self._speed.curve(None).seconds(share * tokens)

    @property
    def quantum(self) -> int:
        """Tokens of one batch, when nothing presses: by so many a caller may be ahead of others."""
        return self._most(self._speed.curve(None))

    def turn(self, lane: Lane, version: int | None, now: float, parts: int = 1, share: int = 1) -> int:
        """The budget of a batch of this lane: bulk batches are short while interactive calls are about.

        A forward that pauses between so many `parts` may be as much longer. One of so many that `share` the processor
        is as long as the others together.
        """
        curve = self._speed.curve(version)
        most = self._most(curve, share)
        if lane is Lane.BULK and now < self._interactive_until:
            within = curve.tokens_within(self._settings.bulk_turn_seconds * parts, most)
            return min(most, max(within, _LEAST_TURN))
        return most

    def _most(self, curve: Curve, share: int = 1) -> int:
        """Tokens of a batch that is nearly as fast a token as any, and not too long for those behind it."""
        enough = min(curve.enough(self.budget.now), max(1, self.budget.now // share))
        within = curve.tokens_within(LONGEST, share * enough) // share if curve.measured else enough
        return min(enough, max(within, _LEAST))
