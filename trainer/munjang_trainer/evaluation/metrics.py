"""Metrics of vectors on an evaluation set (correlation, triplet accuracy, retrieval), and their bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from munjang.encoder.postprocess import normalized
from munjang.encoder.similarity import pairwise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.data.table import Kind, Table

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]


MAIN_METRIC: dict[Kind, str] = {"sts": "cosine_spearman", "triplets": "accuracy", "groups": "mrr"}
"""The main metric of each kind of set."""

SimilarityFunction = Literal["cosine", "dot"]


@dataclass(frozen=True)
class Sample:
    """A set's main metric by row, so it can be computed again on other draws of the same rows.

    Attributes:
        values: the model's score of each row, float64 [n].
        labels: the human score of each row, float64 [n]; None if the metric is the mean of the values.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.float64] | None = None

    def figure(self, rows: NDArray[np.int64] | slice = slice(None)) -> float:
        """The metric on some of the rows."""
        if self.labels is None:
            return float(self.values[rows].mean())
        return spearman(self.values[rows], self.labels[rows])


def compute_metrics(table: Table, vector_of: Encode) -> tuple[dict[str, float], Sample]:
    """All metrics of one set for one form of the vectors, and its main metric by row.

    Args:
        table: scored pairs, triplets or groups.
        vector_of: gives vectors float32 [n, d] of texts.
    """
    match table.kind:
        case "sts":
            return _scored(table, vector_of)
        case "triplets":
            return _triplets(table, vector_of)
        case "groups":
            return _groups(table, vector_of)
        case _:
            msg = f"{table.kind} are to train on, not to evaluate on"
            raise ValueError(msg)


def spearman(values: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Rank correlation, 0 if one side is all the same."""
    return _pearson(_ranks(values), _ranks(labels))


def _scored(table: Table, vector_of: Encode) -> tuple[dict[str, float], Sample]:
    left, right = vector_of(table.column("sentence1")), vector_of(table.column("sentence2"))
    labels = np.array(table.column("score"), np.float64)
    figures: dict[str, float] = {}
    functions: tuple[SimilarityFunction, ...] = ("cosine", "dot")
    for function in functions:
        values = pairwise(left, right, function).astype(np.float64)
        figures[f"{function}_spearman"] = spearman(values, labels)
        figures[f"{function}_pearson"] = _pearson(values, labels)
    return figures, Sample(pairwise(left, right, "cosine").astype(np.float64), labels)


def _triplets(table: Table, vector_of: Encode) -> tuple[dict[str, float], Sample]:
    anchor, positive, negative = (vector_of(table.column(name)) for name in table.columns)
    right = pairwise(anchor, positive, "cosine") > pairwise(anchor, negative, "cosine")
    sample = Sample(right.astype(np.float64))
    return {"accuracy": sample.figure()}, sample


def _groups(table: Table, vector_of: Encode) -> tuple[dict[str, float], Sample]:
    texts = table.column("text")
    ranks = search(vector_of(texts), table.column("group"), texts)
    figures = {"recall_1": ranks.recall1, "recall_10": ranks.recall10, "mrr": ranks.reciprocal}
    return {name: float(values.mean()) for name, values in figures.items()}, Sample(ranks.reciprocal)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs. As scipy's rankdata, which costs a second of import."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(values)]
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def _pearson(values: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    left, right = values - values.mean(), labels - labels.mean()
    scale = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / scale if scale > 0 else 0.0


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


class Interval(NamedTuple):
    """A metric with the percentile interval around it."""

    value: float
    low: float
    high: float


def interval(sample: Sample, *, resamples: int, confidence: float, seed: int) -> Interval:
    """The metric of one model."""
    return _bootstrap(len(sample.values), sample.figure, resamples, confidence, seed)


def difference(first: Sample, second: Sample, *, resamples: int, confidence: float, seed: int) -> Interval:
    """The second model's metric minus the first's, both on the same draws (paired), so that hard rows cancel out.

    Raises:
        ValueError: the two do not have the same rows.
    """
    if len(first.values) != len(second.values):
        msg = f"{len(first.values)} and {len(second.values)} rows are not the same rows"
        raise ValueError(msg)

    def figure(rows: NDArray[np.int64] | slice) -> float:
        return second.figure(rows) - first.figure(rows)

    return _bootstrap(len(first.values), figure, resamples, confidence, seed)


def _bootstrap(
    count: int,
    figure: Callable[[NDArray[np.int64] | slice], float],
    resamples: int,
    confidence: float,
    seed: int,
) -> Interval:
    draw = np.random.default_rng(seed)
    figures = [figure(draw.integers(0, count, count)) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return Interval(figure(slice(None)), float(low), float(high))
