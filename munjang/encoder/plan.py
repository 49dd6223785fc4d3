"""Which texts share a forward: a pure function of their lengths and a token budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.encoder.layout import arrange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def plan(lengths: Sequence[int], budget: int, *, packs: bool) -> Iterator[list[int]]:
    """Split the positions of `lengths` into batches of at most `budget` tokens, padding included.

    The longest come first, so that memory peaks at once and not at the end. A text longer than the budget gets a batch
    of its own. Every position comes exactly once.

    Args:
        lengths: tokens of each text.
        budget: tokens of a batch.
        packs: whether texts may share a row. If so, a batch is made of rows that the whole list fills best; else of
            texts of like length.
    """
    return _in_rows(lengths, budget) if packs else _by_length(lengths, budget)


def _in_rows(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    for frame in arrange(lengths, packs=True):
        rows = max(1, budget // frame.width)
        for part in frame.split(-(-len(frame.rows) // rows)):
            yield part.texts


def _by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
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
