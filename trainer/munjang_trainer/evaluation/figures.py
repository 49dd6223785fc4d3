"""What an evaluation set says of vectors: rank and linear correlation, triplet accuracy, retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from munjang.encoder.similarity import pairwise
from munjang_trainer.evaluation.forms import PLAIN, Form
from munjang_trainer.evaluation.retrieval import search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.data.table import Kind, Table

MAIN: dict[Kind, str] = {"sts": "cosine_spearman", "triplets": "accuracy", "groups": "mrr"}
"""The figure that stands for a kind of set."""

Function = Literal["cosine", "dot"]


@dataclass(frozen=True)
class Sample:
    """A set's main figure taken apart, so that it can be computed again on other draws of the same rows.

    Attributes:
        values: what the model made of each row, float64 [n].
        labels: what people say of each row, float64 [n]; None where the figure is the mean of the values.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.float64] | None = None

    def figure(self, rows: NDArray[np.int64] | slice = slice(None)) -> float:
        """The figure on some of the rows."""
        if self.labels is None:
            return float(self.values[rows].mean())
        return spearman(self.values[rows], self.labels[rows])


def judge(table: Table, vector_of: Callable[[Sequence[str]], NDArray[np.float32]]) -> tuple[dict[str, float], Sample]:
    """All figures of one set for one form of the vectors, and its main figure taken apart.

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


def named(form: Form, figures: dict[str, float]) -> dict[str, float]:
    """Figures with the form before their names."""
    return figures if form == PLAIN else {f"{form.name}.{name}": value for name, value in figures.items()}


def spearman(values: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Rank correlation, 0 if one side is all the same."""
    return _pearson(_ranks(values), _ranks(labels))


def _scored(table: Table, vector_of: Callable[[Sequence[str]], NDArray[np.float32]]) -> tuple[dict[str, float], Sample]:
    left, right = vector_of(table.column("sentence1")), vector_of(table.column("sentence2"))
    labels = np.array(table.column("score"), np.float64)
    figures: dict[str, float] = {}
    functions: tuple[Function, ...] = ("cosine", "dot")
    for function in functions:
        values = pairwise(left, right, function).astype(np.float64)
        figures[f"{function}_spearman"] = spearman(values, labels)
        figures[f"{function}_pearson"] = _pearson(values, labels)
    return figures, Sample(pairwise(left, right, "cosine").astype(np.float64), labels)


def _triplets(
    table: Table, vector_of: Callable[[Sequence[str]], NDArray[np.float32]]
) -> tuple[dict[str, float], Sample]:
    anchor, positive, negative = (vector_of(table.column(name)) for name in table.columns)
    right = pairwise(anchor, positive, "cosine") > pairwise(anchor, negative, "cosine")
    sample = Sample(right.astype(np.float64))
    return {"accuracy": sample.figure()}, sample


def _groups(table: Table, vector_of: Callable[[Sequence[str]], NDArray[np.float32]]) -> tuple[dict[str, float], Sample]:
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
