"""Whether training rows hold texts of evaluation sets, compared on their normalised form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from munjang.errors import MunjangError
from munjang_trainer.data.table import Table
from munjang_trainer.data.text import match_key

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = 3


class DataLeak(MunjangError):
    """Training data holds texts that the model will be judged by."""


class Leak(BaseModel):
    """What one training source shares with one evaluation set.

    Attributes:
        rows: training rows with at least one text of the evaluation set.
        whole_rows: those of them of which every text is in the evaluation set.
        texts: different texts in common.
        examples: a few of these texts, as training has them.
    """

    source: str
    evaluation: str
    rows: int
    whole_rows: int
    texts: int
    examples: list[str]


def find_leaks(sources: Mapping[str, Table], evaluation: Mapping[str, Table]) -> list[Leak]:
    """Every pair of a training source and an evaluation set that have texts in common."""
    leaks: list[Leak] = []
    for name, known in evaluation.items():
        keys = _keys(known)
        for source, table in sources.items():
            leak = _compare(source, table, name, keys)
            if leak.rows:
                leaks.append(leak)
    return leaks


def without_leaks(table: Table, evaluation: Mapping[str, Table]) -> Table:
    """The rows of a table that have no text in common with any evaluation set."""
    keys = set().union(*(_keys(known) for known in evaluation.values()))
    positions = table.text_columns
    return Table(table.kind, [row for row in table.rows if not any(match_key(row[i]) in keys for i in positions)])


def refuse(leaks: list[Leak]) -> None:
    """End the run if there are leaks.

    Raises:
        DataLeak: there are; the message says where and how to go on.
    """
    if not leaks:
        return
    found = "; ".join(
        f"{leak.rows} rows of {leak.source!r} hold texts of {leak.evaluation!r} (such as {leak.examples[0]!r})"
        for leak in leaks
    )
    msg = f"training data leaks into evaluation: {found}. Drop these rows (leaks: drop) or overrule this (leaks: allow)"
    raise DataLeak(msg, field="data.leaks")


def _keys(table: Table) -> set[str]:
    return {match_key(text) for text in table.texts()} - {""}


def _compare(source: str, table: Table, evaluation: str, keys: set[str]) -> Leak:
    shared: dict[str, str] = {}
    rows = whole = 0
    for row in table.rows:
        texts = [row[position] for position in table.text_columns]
        common = [text for text in texts if match_key(text) in keys]
        rows += bool(common)
        whole += len(common) == len(texts)
        for text in common:
            shared.setdefault(match_key(text), text)
    examples = list(shared.values())[:EXAMPLES]
    return Leak(source=source, evaluation=evaluation, rows=rows, whole_rows=whole, texts=len(shared), examples=examples)
