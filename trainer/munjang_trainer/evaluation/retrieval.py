"""Searching paraphrases: every text of a set is a query, all others are candidates, those of its group are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from munjang.encoder.postprocess import normalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

QUERIES_AT_ONCE = 512


class Ranks(NamedTuple):
    """What each query found, float64 [n] each.

    Attributes:
        recall1: 1 if the nearest text is wanted.
        recall10: the share of the wanted texts among the ten nearest; of ten, where more are wanted.
        reciprocal: 1 / the rank of the first wanted text.
    """

    recall1: NDArray[np.float64]
    recall10: NDArray[np.float64]
    reciprocal: NDArray[np.float64]


def search(vectors: NDArray[np.float32], groups: Sequence[str], texts: Sequence[str]) -> Ranks:
    """Rank by cosine. The query itself, and texts that read the same, are no candidates.

    Args:
        vectors: float32 [n, d], one for each text.
        groups: the group of each text; a query whose group has no other text is left out.
        texts: the texts.
    """
    unit = normalized(vectors)
    group_ids, text_ids = _numbers(groups), _numbers(texts)
    found: list[tuple[float, float, float]] = []
    for start in range(0, len(unit), QUERIES_AT_ONCE):
        scores = unit[start : start + QUERIES_AT_ONCE] @ unit.T
        for offset, row in enumerate(scores):
            query = start + offset
            row[text_ids == text_ids[query]] = -np.inf
            wanted = (group_ids == group_ids[query]) & np.isfinite(row)
            if wanted.any():
                found.append(_judge(row, wanted))
    columns = np.array(found, np.float64).reshape(-1, 3).T
    return Ranks(*columns)


def _judge(scores: NDArray[np.float32], wanted: NDArray[np.bool_]) -> tuple[float, float, float]:
    depth = min(10, len(scores))
    top = np.argpartition(-scores, depth - 1)[:depth]
    top = top[np.argsort(-scores[top], kind="stable")]
    hits = wanted[top]
    first = 1 + int((scores > scores[wanted].max()).sum())
    return float(hits[0]), float(hits.sum()) / min(10, int(wanted.sum())), 1 / first


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
