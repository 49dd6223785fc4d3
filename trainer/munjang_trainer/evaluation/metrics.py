"""Metrics of vectors on an evaluation set (correlation, triplet accuracy, retrieval), and their bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from munjang.encoder.similarity import pairwise
from munjang.kinds import Role
from munjang_trainer.evaluation.retrieval import groups_as_judgements, judgements_of, measure, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.data.table import Kind, Table

    Encode = Callable[[Sequence[str], Role | None], NDArray[np.float32]]


MAIN_METRIC: dict[Kind, str] = {
    "sts": "cosine_spearman",
    "triplets": "accuracy",
    "groups": "ndcg@10",
    "retrieval": "ndcg@10",
}
"""The main metric of each kind of set."""

RELATED = 0.8
"""A pair with this score or more is related: 4 of 5 in KorSTS."""

SimilarityFunction = Literal["cosine", "dot"]


@dataclass(frozen=True)
class Sample:
    """A metric by row, so it can be computed again on other draws of the same rows.

    Attributes:
        values: the model's score of each row, float64 [n].
        labels: the human score of each row, float64 [n]; None if the metric is the mean of the values.
        ranked: whether the metric of scores and labels is their rank correlation, not their linear one.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.float64] | None = None
    ranked: bool = True

    def figure(self, rows: NDArray[np.int64] | slice = slice(None)) -> float:
        """The metric on some of the rows."""
        if self.labels is None:
            return float(self.values[rows].mean())
        return (spearman if self.ranked else _pearson)(self.values[rows], self.labels[rows])


def compute_samples(table: Table, vectors_of: Encode) -> dict[str, Sample]:
    """All metrics of one set for one form of the vectors, each by row.

    Args:
        table: scored pairs, triplets, groups or judgements.
        vectors_of: gives vectors float32 [n, d] of texts that have a role, or none (None).
    """
    match table.kind:
        case "sts":
            return _scored(table, vectors_of)
        case "triplets":
            return _triplets(table, vectors_of)
        case "groups" | "retrieval":
            return _ranked(table, vectors_of)
        case _:
            msg = f"{table.kind} are to train on, not to evaluate on"
            raise ValueError(msg)


def figures_of(samples: Mapping[str, Sample]) -> dict[str, float]:
    """The metrics on all rows, by name."""
    return {name: sample.figure() for name, sample in samples.items()}


def spearman(values: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Rank correlation, 0 if one side is all the same."""
    return _pearson(_ranks(values), _ranks(labels))


def _scored(table: Table, vectors_of: Encode) -> dict[str, Sample]:
    """Correlations; and the mean cosine of related pairs and of random ones, which says what a cosine means here."""
    left, right = (vectors_of(table.column(name), None) for name in ("sentence1", "sentence2"))
    labels = np.array(table.column("score"), np.float64)
    samples: dict[str, Sample] = {}
    functions: tuple[SimilarityFunction, ...] = ("cosine", "dot")
    for function in functions:
        values = pairwise(left, right, function).astype(np.float64)
        samples[f"{function}_spearman"] = Sample(values, labels)
        samples[f"{function}_pearson"] = Sample(values, labels, ranked=False)
    related = labels >= RELATED
    if related.any():
        samples["related_cosine"] = Sample(samples["cosine_spearman"].values[related])
    drawn = np.random.default_rng(0).permutation(len(right))
    samples["random_cosine"] = Sample(pairwise(left, right[drawn], "cosine").astype(np.float64))
    return samples


def _triplets(table: Table, vectors_of: Encode) -> dict[str, Sample]:
    anchor, positive, *negatives = (vectors_of(table.column(name), None) for name in table.columns)
    nearest_negative = np.max([pairwise(anchor, negative, "cosine") for negative in negatives], axis=0)
    right = pairwise(anchor, positive, "cosine") > nearest_negative
    return {"accuracy": Sample(right.astype(np.float64))}


def _ranked(table: Table, vectors_of: Encode) -> dict[str, Sample]:
    if table.kind == "groups":
        judged = groups_as_judgements(table.column("text"), table.column("group"))
        vectors = vectors_of(judged.documents, None)
        found = nearest(vectors, vectors, among_themselves=True)
    else:
        judged = judgements_of(table)
        queries = vectors_of(judged.queries, Role.QUERY)
        found = nearest(queries, vectors_of(judged.documents, Role.DOCUMENT))
    return {name: Sample(values) for name, values in measure(found, judged.relevant).items()}


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
