"""Compares searches in the tables of two spaces: how much they agree, and which finds the answers.

Each query is encoded by each space's version, and searched in that space's table alone.
"""

from __future__ import annotations

import json
import operator
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.errors import InvalidOption
from munjang.index.embedding import query_options, require_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from munjang.index.embedding import Encodes
    from munjang.index.layout import Layout
    from munjang.index.tables import Tables

K = 10
SAMPLE = 200
"""Texts of the index that serve as queries where none are given."""

_CONDITION = re.compile(r"\s*(overlap|recall|ndcg|recall_change|ndcg_change|latency_ms)\s*(>=|<=)\s*(-?[0-9.]+)\s*")
_OPERATORS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the ids of the rows that answer it, if they are known."""

    text: str
    answers: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """How one space's table is searched.

    Attributes:
        space_id: which.
        recall: the share of the answers among the K nearest; None without answers.
        ndcg: nDCG@K of the answers, each of gain 1; None without answers.
        latency_ms: the median time of one search in the store, without encoding.
    """

    space_id: str
    recall: float | None
    ndcg: float | None
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two spaces' searches.

    Attributes:
        old: the current table's.
        new: the next one's.
        queries: how many were asked.
        overlap: the mean share of the K nearest that both found.
        rank_change: the mean change of rank of what both found.
        first_same: the share of queries with the same best row.
    """

    old: Quality
    new: Quality
    queries: int
    overlap: float
    rank_change: float
    first_same: float

    def values(self) -> dict[str, float]:
        """The numbers that conditions name."""
        found = {"overlap": self.overlap, "latency_ms": self.new.latency_ms}
        for name in ("recall", "ndcg"):
            old, new = getattr(self.old, name), getattr(self.new, name)
            if new is not None:
                found |= {name: new, f"{name}_change": new - old}
        return found


def read_queries(path: Path) -> list[Query]:
    """Queries of a JSON Lines file: `query`, and `answers`, a list of ids, where they are known.

    Raises:
        InvalidOption: the file has none, or a line is not such an object.
    """
    found: list[Query] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            found.append(Query(str(record["query"]), tuple(record.get("answers", ()))))
        except (ValueError, KeyError, TypeError) as error:
            msg = f'{path}, line {number} is not like {{"query": "…", "answers": ["id", …]}}'
            raise InvalidOption(msg, field="queries") from error
    if not found:
        msg = f"{path} has no queries"
        raise InvalidOption(msg, field="queries")
    return found


def sample_queries(tables: Tables, count: int = SAMPLE) -> list[Query]:
    """Texts of the current table as queries, always the same ones of the same rows."""
    table, layout = tables.current()
    ids = sorted((mark.id for piece in tables.sink.marks(table, layout) for mark in piece), key=str)
    chosen = random.Random(0).sample(ids, min(count, len(ids)))  # noqa: S311 - a sample, no secret
    texts = tables.sink.fetch(table, layout, chosen).columns[layout.text_column]
    return [Query(text) for text in texts if text and text.strip()]


def compare(tables: Tables, encoder: Encodes, new_table: str, queries: Sequence[Query]) -> Comparison:
    """Ask both tables.

    Raises:
        MunjangError: a query cannot be encoded by one of the versions, or a table cannot be searched.
    """
    old = _Side(tables, encoder, tables.current()[0], queries)
    new = _Side(tables, encoder, new_table, queries)
    both = list(zip(old.found, new.found, strict=True))
    changes = [abs(one.index(row) - other.index(row)) for one, other in both for row in one if row in other]
    return Comparison(
        old=old.quality(queries),
        new=new.quality(queries),
        queries=len(queries),
        overlap=float(np.mean([len({*one} & {*other}) / max(1, len(one)) for one, other in both])),
        rank_change=float(np.mean(changes)) if changes else 0.0,
        first_same=float(np.mean([one[:1] == other[:1] for one, other in both])),
    )


class _Side:
    """The searches of one table: the ids that each query found, and the time that each search took."""

    def __init__(self, tables: Tables, encoder: Encodes, table: str, queries: Sequence[Query]) -> None:
        layout: Layout = tables.layout(table)
        reply = encoder.encode([one.text for one in queries], version=layout.space_id, **query_options(layout, ""))
        require_space(reply, layout)
        vectors = np.asarray(reply.vectors).astype(layout.dtype, copy=False)
        self._space = layout.space_id
        self.found: list[list[Any]] = []
        self._seconds: list[float] = []
        for place in range(len(vectors)):
            begun = time.perf_counter()
            hits = tables.sink.search(table, layout, vectors[place : place + 1], K)[0]
            self._seconds.append(time.perf_counter() - begun)
            self.found.append([hit.id for hit in hits])

    def quality(self, queries: Sequence[Query]) -> Quality:
        answered = [(found, set(one.answers)) for found, one in zip(self.found, queries, strict=True) if one.answers]
        recall = [len(answers & {*found}) / min(K, len(answers)) for found, answers in answered]
        return Quality(
            space_id=self._space,
            recall=float(np.mean(recall)) if recall else None,
            ndcg=float(np.mean([_ndcg(*one) for one in answered])) if answered else None,
            latency_ms=float(np.median(self._seconds)) * 1000,
        )


def holds(condition: str, comparison: Comparison) -> bool:
    """Whether conditions such as `recall>=0.9,overlap>=0.5` all hold.

    Raises:
        InvalidOption: one cannot be read, or needs answers that the queries lack.
    """
    values = comparison.values()
    result = True
    for part in condition.split(","):
        found = _CONDITION.fullmatch(part)
        if found is None:
            msg = f"{part!r} is no condition: write one such as recall>=0.9, overlap>=0.5 or ndcg_change>=-0.01"
            raise InvalidOption(msg, field="yes_if")
        name, sign, number = found.groups()
        if name not in values:
            msg = f"{name} is not known: the queries have no answers (--queries)"
            raise InvalidOption(msg, field="yes_if")
        result = result and bool(_OPERATORS[sign](values[name], float(number)))
    return result


def page(comparison: Comparison, name: str) -> str:
    """The comparison as a page of Markdown."""

    def shown(value: float | None) -> str:
        return "—" if value is None else f"{value:.3f}"

    rows = [
        f"| {which} | `{side.space_id}` | {shown(side.recall)} | {shown(side.ndcg)} | {side.latency_ms:.1f} ms |"
        for which, side in (("old", comparison.old), ("new", comparison.new))
    ]
    return "\n".join(
        [
            f"# Rollover of index {name}",
            "",
            f"{comparison.queries} queries, the {K} nearest rows of each.",
            "",
            f"| | space | recall@{K} | nDCG@{K} | median search |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"- overlap@{K}: {comparison.overlap:.3f} of the rows are found by both",
            f"- rank change of those: {comparison.rank_change:.2f} places on average",
            f"- the same best row: {comparison.first_same:.3f} of the queries",
            "",
        ]
    )


def _ndcg(found: Sequence[Any], answers: set[Any]) -> float:
    """nDCG@K of one query, with a gain of 1 for every answer (Järvelin and Kekäläinen, 2002)."""
    gains = sum(1 / np.log2(rank + 2) for rank, row in enumerate(found[:K]) if row in answers)
    ideal = sum(1 / np.log2(rank + 2) for rank in range(min(K, len(answers))))
    return float(gains / ideal)
