"""Which texts share a forward: a pure function of their lengths and a token budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def plan(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Split the positions of `lengths` into batches of at most `budget` tokens, padding included.

    Positions are sorted by length, so that a batch holds texts of like length and little of it is padding; the longest
    come first, so that memory peaks at once and not at the end. A text longer than the budget gets a batch of its own.
    Every position comes exactly once.
    """
    batch: list[int] = []
    width = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and width * (len(batch) + 1) > budget:
            yield batch
            batch = []
        if not batch:
            width = lengths[position]
        batch.append(position)
    if batch:
        yield batch
