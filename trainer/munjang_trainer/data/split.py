"""Holding rows out: rows that share a text stay on one side, and the same seed gives the same sides."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from munjang_trainer.data.text import match_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from munjang_trainer.recipe.data import HoldOut

Row = TypeVar("Row")


def split(
    rows: Sequence[Row], texts_of: Callable[[Row], Iterable[str]], hold_out: HoldOut | None, seed: int
) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows held out, each in their order; all to train on where nothing is held out.

    Whole clusters of rows that share texts are held out, in a random order, until the wanted number of rows is reached.
    """
    if hold_out is None:
        return list(rows), []
    clusters = _clusters([[match_key(text) for text in texts_of(row)] for row in rows])
    random.Random(seed).shuffle(clusters)  # noqa: S311 - a reproducible choice, not a secret
    first, last = _bounds(hold_out, len(rows))
    held: set[int] = set()
    position = 0
    for cluster in clusters:
        middle = position + len(cluster) / 2
        position += len(cluster)
        if first <= middle < last:
            held.update(cluster)
    kept = [row for number, row in enumerate(rows) if number not in held]
    return kept, [rows[number] for number in sorted(held)]


def _bounds(hold_out: HoldOut, count: int) -> tuple[float, float]:
    if hold_out.folds:
        return count * hold_out.fold / hold_out.folds, count * (hold_out.fold + 1) / hold_out.folds
    return 0, count * hold_out.fraction


def _clusters(keys: Sequence[Sequence[str]]) -> list[list[int]]:
    """The positions of rows that common keys join, directly or through others; in order of first appearance."""
    parent = list(range(len(keys)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    seen: dict[str, int] = {}
    for number, row in enumerate(keys):
        for key in row:
            parent[root(number)] = root(seen.setdefault(key, number))
    clusters: dict[int, list[int]] = {}
    for number in range(len(keys)):
        clusters.setdefault(root(number), []).append(number)
    return list(clusters.values())
