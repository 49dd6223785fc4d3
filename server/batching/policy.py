"""What forms a batch: pure functions of what waits. Who waits where is kept by `queue`, and `runner` runs the batches.

A batch is made in three steps. `next_lane` says which lane's turn it is, by what the other is owed. Fairness among the
callers of the lane (see `callers`) says which text must be in it, so that none waits for ever. `form` says which others
join, from shelves that hold the texts of the lane and version by length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.batching.contract import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FINE = 32  # below this every length is a class of its own; above, an octave has 16 classes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may be.

    Attributes:
        budget: the most tokens, padding included; one longer text still runs, alone.
        padding_share: the most padding as a share of the batch.
        overhead: what starting a forward costs, in tokens: so much padding is always allowed, up to half of the budget,
            because a second forward would cost more.
    """

    budget: int
    padding_share: float
    overhead: float = 0.0

    def allows(self, texts: int, width: int, tokens: int) -> bool:
        """Whether so many texts, the longest of `width` and `tokens` without padding, may be one batch."""
        padded = texts * width
        free = min(self.overhead, self.budget / 2)
        return padded <= self.budget and padded - tokens <= max(free, self.padding_share * padded)


def length_class(length: int) -> int:
    """The class of a length: contiguous, ascending, and no text is more than 1/16 longer than another of its class."""
    if length < _FINE:
        return length
    shift = length.bit_length() - 5
    return 16 * shift + (length >> shift)


def next_lane(*, interactive: bool, bulk: bool, owed: float, turn: float) -> Lane:
    """Which lane's turn it is, given which of them wait: interactive first, unless bulk is owed a whole turn."""
    if bulk and (not interactive or owed >= turn):
        return Lane.BULK
    return Lane.INTERACTIVE


def owed_after(
    owed: float, lane: Lane, padded: int, share: float, *, interactive_waits: bool, bulk_waits: bool
) -> float:
    """What bulk is owed, in padded tokens, after a batch of `padded` was taken and these lanes still wait.

    In the long run bulk gets `share` of the tokens while both wait. What it gets while interactive has no use for the
    engine pays back what it is owed, but makes no debt; and nothing is owed to nobody.
    """
    if not bulk_waits:
        return 0.0
    if lane is Lane.INTERACTIVE:
        return owed + padded * share / (1 - share) if share < 1 else math.inf
    return owed - padded if interactive_waits else max(owed - padded, min(owed, 0.0))


def form(shelves: Sequence[Iterable[int]], start: int, limits: Limits) -> list[int]:
    """How many texts to take from the front of each shelf; at least one of shelf `start`.

    `shelves` hold the lengths of texts of one version and lane, shelves ascending by length, each in fair order; they
    are read only as far as needed, but maybe twice. The batch grows to the neighbour that costs less padding, until the
    budget or the padding says stop.
    """
    batch = _Growing(limits)
    taken = [0] * len(shelves)
    taken[start] = batch.add(shelves[start])
    below, above = start - 1, start + 1
    while below >= 0 or above < len(shelves):
        down = below >= 0 and (above >= len(shelves) or batch.padding(shelves[below]) <= batch.padding(shelves[above]))
        shelf = below if down else above
        taken[shelf] = batch.add(shelves[shelf])
        if down:
            below = -1 if batch.closed else below - 1
        else:
            above = len(shelves) if batch.closed else above + 1
    return taken


class _Growing:
    """A batch while texts are added to it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._texts = self._width = self._tokens = 0
        self.closed = False

    def add(self, lengths: Iterable[int]) -> int:
        """Take texts from the front while they fit; `closed` says afterwards whether some were left."""
        before = self._texts
        self.closed = False
        for length in lengths:
            width = max(self._width, length)
            if self._texts and not self._limits.allows(self._texts + 1, width, self._tokens + length):
                self.closed = True
                break
            self._texts, self._width, self._tokens = self._texts + 1, width, self._tokens + length
        return self._texts - before

    def padding(self, lengths: Iterable[int]) -> int:
        """The padding that one more text, the first of these, would add."""
        length = next(iter(lengths), self._width)
        return max(self._width - length, self._texts * (length - self._width))
