"""Retrieval measured per query: nDCG@10, recall@1, @5 and @10, MRR@10 and accuracy@1, from vectors and judgements.

The measures are those of trec_eval and BEIR, by cosine: recall@k is the share of a query's relevant documents that are
among its k nearest, accuracy@k is 1 if any of them is relevant, and the gain of nDCG is the grade of relevance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.postprocess import normalized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from munjang_trainer.data.table import Table

DEPTH = 10
"""So many of the nearest documents are looked at."""

RECALLS = (1, 5, 10)
QUERIES_AT_ONCE = 512

DISCOUNTS = 1 / np.log2(np.arange(2, DEPTH + 2))
"""Of the gain at each rank."""


@dataclass(frozen=True)
class Judgements:
    """Queries and documents, each once, and which documents answer which query.

    Attributes:
        queries, documents: texts.
        relevant: for each query the grade, above 0, of each relevant document by its position.
    """

    queries: list[str]
    documents: list[str]
    relevant: list[dict[int, float]]


def judgements_of(table: Table) -> Judgements:
    """Read a table of kind `retrieval`; a query without a relevant document is left out, as trec_eval does."""
    documents: dict[str, int] = {}
    texts: list[str] = []
    queries: dict[str, str] = {}
    relevant: dict[str, dict[int, float]] = {}
    for query_id, query, document_id, document, grade in table.rows:
        if document_id not in documents:
            documents[document_id] = len(texts)
            texts.append(document)
        if query_id and grade > 0:
            queries[query_id] = query
            relevant.setdefault(query_id, {})[documents[document_id]] = float(grade)
    return Judgements(list(queries.values()), texts, list(relevant.values()))


def groups_as_judgements(texts: Sequence[str], groups: Sequence[str]) -> Judgements:
    """Each text as a query for the other texts of its group; texts that read the same are one."""
    numbers: dict[str, int] = {}
    members: dict[str, dict[int, None]] = {}
    for text, group in zip(texts, groups, strict=True):
        members.setdefault(group, {})[numbers.setdefault(text, len(numbers))] = None
    relevant: list[dict[int, float]] = [{} for _ in numbers]
    for same in members.values():
        for number in same:
            relevant[number] |= {other: 1.0 for other in same if other != number}
    return Judgements(list(numbers), list(numbers), relevant)


def nearest(
    queries: NDArray[np.float32], documents: NDArray[np.float32], *, among_themselves: bool = False
) -> NDArray[np.int64]:
    """The nearest documents of each query by cosine, nearest first: positions, int64 [q, at most 10].

    Args:
        queries: float32 [q, d].
        documents: float32 [n, d].
        among_themselves: the queries are the documents; none finds itself.
    """
    left, right = normalized(queries), normalized(documents)
    depth = min(DEPTH, len(right) - among_themselves)
    found = np.empty((len(left), max(depth, 0)), np.int64)
    for start in range(0, len(left) if depth > 0 else 0, QUERIES_AT_ONCE):
        scores = left[start : start + QUERIES_AT_ONCE] @ right.T
        if among_themselves:
            rows = np.arange(len(scores))
            scores[rows, start + rows] = -np.inf
        top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        found[start : start + len(scores)] = np.take_along_axis(top, order, axis=1)
    return found


def measure(found: NDArray[np.int64], relevant: Sequence[Mapping[int, float]]) -> dict[str, NDArray[np.float64]]:
    """Each measure by query, float64 [q], of the documents that were found for it.

    Args:
        found: positions of documents, int64 [q, k], nearest first.
        relevant: the grade of each relevant document; a query without any is left out of all measures.
    """
    columns: dict[str, list[float]] = {name: [] for name in MEASURES}
    for row, grades in zip(found.tolist(), relevant, strict=True):
        if not grades:
            continue
        gains = np.array([grades.get(document, 0.0) for document in row])
        ideal = np.sort(np.array(list(grades.values())))[::-1][:DEPTH]
        hits = gains > 0
        first = int(hits.argmax()) if hits.any() else DEPTH
        columns["ndcg@10"].append(float(gains @ DISCOUNTS[: len(gains)]) / float(ideal @ DISCOUNTS[: len(ideal)]))
        for k in RECALLS:
            columns[f"recall@{k}"].append(int(hits[:k].sum()) / len(grades))
        columns["mrr@10"].append(1 / (first + 1) if first < DEPTH else 0.0)
        columns["accuracy@1"].append(float(first == 0))
    return {name: np.array(values, np.float64) for name, values in columns.items()}


MEASURES = ("ndcg@10", *(f"recall@{k}" for k in RECALLS), "mrr@10", "accuracy@1")
"""The names of the measures, the main one first."""
