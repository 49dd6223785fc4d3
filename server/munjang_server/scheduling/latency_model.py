"""How long a forward takes, and how many tokens a batch should have. Learns from forwards; decides nothing else.

A forward's seconds are `start + per_token · tokens + per_square · Σ length²`: most layers cost the same for each token,
attention grows with the square of a text's length. These are fitted to what forwards of each size class take when
nothing disturbs them. How much slower the machine is at the moment is one factor for all sizes, the median of the last
few forwards. The factor is dropped when those are old.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.settings import BatchSettings

UNMEASURED = 2000.0
"""Tokens per second that are assumed before the first measurement: a small model on one slow core."""

TYPICAL_LENGTH = 32.0
"""Tokens of a text if only a batch's total is known."""

_START, _QUADRATIC = 20.0, 2000.0
"""The shape before it is measured: the start costs as much as `_START` tokens, and in texts of `_QUADRATIC` tokens
attention costs as much as everything else."""

LONGEST = 0.08
"""Seconds of a batch: a longer one is little faster per token, delays those behind it, and more callers give up."""

_PRIOR_WEIGHT = 0.01  # of that shape, against one for each size class that was measured
_OUTLIER = math.log(4.0)  # a forward counts as no more than four times what is usual, and no less than a quarter
_FIRST = 4  # forwards of a size class that count alike
_FASTER = 0.25  # weight of a forward that was faster than usual; slower ones count by how long they last
_DRIFT = 600.0  # seconds of slower forwards after which they count as usual
_RECENT = 15  # forwards whose median is the factor
_FRESH = 10.0  # seconds for which a forward says how fast the machine is now
_NEARLY = 0.95  # of the best tokens per second is good enough
_LEAST = 1024  # the least tokens of a full batch: the time between forwards, which is not measured, is shared by more
_VERSIONS = 8  # models to keep


class _SizeClass:
    """What a forward of one size takes when nothing disturbs it; others of about that size are scaled to it."""

    __slots__ = ("at", "count", "log_seconds", "squares", "tokens")

    def __init__(self, tokens: float, squares: float, log_seconds: float, now: float) -> None:
        self.count = 1
        self.tokens, self.squares, self.log_seconds, self.at = tokens, squares, log_seconds, now

    @property
    def known(self) -> bool:
        """Whether enough forwards were seen to judge by the next one how fast the machine is."""
        return self.count >= _FIRST

    def learn(self, change: float, now: float) -> None:
        """Follow a faster forward quickly, and a slower one slowly, because something may have disturbed it."""
        self.count += 1
        change = min(max(change, -_OUTLIER), _OUTLIER)
        weight = _FASTER if change < 0 else min(now - self.at, 10.0) / _DRIFT
        self.log_seconds += change * (max(weight, 1 / self.count) if self.count <= _FIRST else weight)
        self.at = now


class LatencyModel:
    """Seconds of one model's forwards.

    Args:
        clock: the time in seconds.

    Attributes:
        enough: tokens of the smallest batch nearly as fast a token as the largest, 1,024 at least; without a
            measurement there is no bound.
        longest: tokens of a batch, in texts of the usual length, that takes as long as one may; at the last forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._classes: dict[tuple[int, int], _SizeClass] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # when, and log of measured over usual
        self._factor, self._factor_until = 1.0, float("-inf")
        self._fit_at = 0  # the number of samples at which the shape is fitted next
        self._samples = 0
        # Replaced whole, because other threads read it.
        self._shape = (_START / UNMEASURED, 1 / UNMEASURED, 1 / (UNMEASURED * _QUADRATIC))
        self.enough = self.longest = math.inf

    @property
    def measured(self) -> bool:
        """Whether it has learned anything."""
        return bool(self._classes)

    def record(self, tokens: int, squares: float, seconds: float) -> None:
        """Learn from one forward that succeeded; `squares` is the sum of its texts' squared lengths."""
        now, log_seconds = self._clock(), math.log(max(seconds, 1e-7))
        key = tokens.bit_length(), int(squares / tokens).bit_length()
        known = self._classes.get(key)
        if known is None or not known.known:
            log_seconds -= self._explained(log_seconds - math.log(self.usual_seconds(tokens, squares)))
        if known is None:
            self._classes[key] = _SizeClass(tokens, squares, log_seconds, now)
            self._fit_at = self._samples
        else:  # compared with its own class, so that a wrong shape does not look like a slow machine
            scale = math.log(self.usual_seconds(tokens, squares) / self.usual_seconds(known.tokens, known.squares))
            slower = log_seconds - scale - known.log_seconds
            if known.known:
                self._recent.append((now, slower))
                fresh = median([log for when, log in self._recent if now - when <= _FRESH])
                self._factor, self._factor_until = math.exp(fresh), now + _FRESH
            known.learn(slower, now)
        self._samples += 1
        if self._samples >= self._fit_at:
            self._fit_at = self._samples + min(self._samples, 16)
            self._fit()
        self._update_batch()

    def _explained(self, slower: float) -> float:
        """How much of a new size's log slowness the present factor explains."""
        factor = math.log(self.factor)
        return factor if abs(slower - factor) < abs(slower) else 0.0

    def _fit(self) -> None:
        """Least squares of relative errors over the means of all classes, with a weak prior of the first shape."""
        points = np.array([(each.tokens, each.squares, math.exp(each.log_seconds)) for each in self._classes.values()])
        tokens, squares, seconds = points.T
        work = tokens + squares / _QUADRATIC
        unit = float((seconds / (_START + work)).min())  # seconds of a token
        smallest = work.argmin()
        start = max(_START * unit, float(seconds[smallest] - unit * work[smallest]))
        scale = np.array([start, unit, unit / _QUADRATIC])
        rows = np.stack([np.ones_like(tokens), tokens, squares], axis=1) * scale / seconds[:, None]
        rows = np.concatenate([rows, math.sqrt(_PRIOR_WEIGHT) * np.eye(3)])
        wanted = np.concatenate([np.ones_like(tokens), np.full(3, math.sqrt(_PRIOR_WEIGHT))])
        used = np.ones(3, bool)
        found = np.zeros(3)
        while True:  # no cost is below zero: leave out what would be, at most twice
            found[:] = 0.0
            found[used] = np.linalg.lstsq(rows[:, used], wanted, rcond=None)[0]
            if (found >= 0).all():
                break
            used &= found > 0
        self._shape = float(found[0] * scale[0]), float(found[1] * scale[1]), float(found[2] * scale[2])

    def usual_seconds(self, tokens: float, squares: float) -> float:
        """The seconds of a forward of `tokens` tokens when nothing disturbs it."""
        start, per_token, per_square = self._shape
        return max(start + per_token * tokens + per_square * squares, 1e-7)

    @property
    def factor(self) -> float:
        """How many times longer than usual forwards take now; 1 if the last one is some time ago."""
        return self._factor if self._clock() <= self._factor_until else 1.0

    def seconds(self, tokens: float, squares: float | None = None) -> float:
        """The expected seconds of a forward of `tokens` tokens; without `squares`, of texts of the usual length."""
        return self.factor * self.usual_seconds(tokens, tokens * TYPICAL_LENGTH if squares is None else squares)

    def tokens_within(self, seconds: float) -> float:
        """The tokens, in texts of the usual length, whose forward is expected to end within `seconds`; or 0."""
        start, per_token, per_square = self._shape
        left = seconds / self.factor - start
        return max(0.0, left / max(per_token + TYPICAL_LENGTH * per_square, 1e-12))

    def _update_batch(self) -> None:
        start, per_token, per_square = self._shape
        rate = max(per_token + TYPICAL_LENGTH * per_square, 1e-12)
        self.enough = max(_LEAST, start / rate * _NEARLY / (1 - _NEARLY))
        self.longest = self.tokens_within(LONGEST)


class Latencies:
    """The latency models of the last few versions. A version that never ran is assumed to be like the last one.

    Runner threads record forwards; any thread may read.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: OrderedDict[int, LatencyModel] = OrderedDict()
        self._last = LatencyModel(clock)
        self._lock = threading.Lock()

    def record(self, version: int, tokens: int, squares: float, seconds: float) -> None:
        """Learn from one forward that succeeded."""
        with self._lock:
            model = self._models.get(version)
            if model is None:
                model = self._models[version] = LatencyModel(self._clock)
                if len(self._models) > _VERSIONS:
                    self._models.popitem(last=False)
            model.record(tokens, squares, seconds)
            self._last = model

    def of(self, version: int | None) -> LatencyModel:
        """The model of a version, or of the one that ran last."""
        return self._last if version is None else self._models.get(version, self._last)

    def measured(self, version: int) -> bool:
        """Whether this very version has been measured."""
        return version in self._models

    def tokens_per_second(self, budget: int) -> float:
        """Tokens per second in batches of `budget`; 0 before the first measurement."""
        return budget / self._last.seconds(budget) if self._last.measured else 0.0


class Flow:
    """Tokens per second over the last few seconds; older ones fade."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._rate = 0.0
        self._at = 0.0

    def add(self, tokens: int, now: float) -> None:
        """Count tokens that were taken."""
        self._rate = self.rate(now) + tokens / self._seconds
        self._at = now

    def rate(self, now: float) -> float:
        """Tokens per second."""
        return self._rate * math.exp(min(0.0, self._at - now) / self._seconds)


_LEAST_BATCH = 256  # tokens of a batch, however slow the machine
_LEAST_BULK = 64  # the same for bulk while interactive calls wait for it
_GROW_AFTER = 16  # full batches without trouble before the budget grows again
_GROWTH = 1.25


class TokenBudget:
    """The most tokens of a batch: the setting, and less for a while after memory ran out. For the runner threads."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.now = full
        self._calm = 0
        self._lock = threading.Lock()

    def shrink(self, tokens: int) -> None:
        """A batch of `tokens` tokens ran out of memory: allow half of it."""
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


class BatchLimits:
    """The size of the batch that is formed now. Under the request queue's lock."""

    def __init__(self, settings: BatchSettings, latencies: Latencies) -> None:
        self._settings = settings
        self._latencies = latencies
        self._interactive_until = float("-inf")
        self.budget = TokenBudget(settings.batch_tokens)

    def saw_interactive(self, now: float) -> None:
        """An interactive call arrived."""
        self._interactive_until = now + self._settings.bulk_yield_seconds

    def interactive_expected(self, now: float) -> bool:
        """Whether interactive calls arrived lately, so that another may arrive at any moment."""
        return now < self._interactive_until

    def tokens(self, lane: Lane, version: int | None, now: float, streams: int = 1, share: int = 1) -> int:
        """The most tokens of a batch of this lane.

        Args:
            lane: which lane it is of.
            version: the model that runs it; None: the one that ran last.
            now: the time.
            streams: how many forwards of the model can run beside each other. Where only one can, interactive calls
                wait for a bulk batch, so it is kept short.
            share: how many run beside each other, this one included; it takes as long as all of them together.
        """
        model = self._latencies.of(version)
        most = max(1, int(min(self.budget.now / share, model.enough, max(_LEAST_BATCH, model.longest / share))))
        if lane is Lane.BULK and streams == 1 and self.interactive_expected(now):
            most = min(most, max(_LEAST_BULK, int(model.tokens_within(self._settings.bulk_turn_seconds))))
        return most

    def end(self, tokens: int, now: float, share: int = 1) -> float:
        """When a batch of so many tokens formed now will end: a deadline before that cannot be met any more."""
        return now + self._latencies.of(None).seconds(share * tokens)

    @property
    def quantum(self) -> int:
        """Tokens of one batch under no pressure: how far a caller may be ahead of others."""
        return self.tokens(Lane.INTERACTIVE, None, 0.0)
