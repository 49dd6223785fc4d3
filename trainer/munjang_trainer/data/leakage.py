"""Keeps training and evaluation apart: hold-out splits, and a check for texts that are in both."""

from __future__ import annotations

import random
import unicodedata
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from munjang.errors import MunjangError
from munjang.normalization import nfc
from munjang_trainer.data.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from munjang_trainer.recipe.schema import HoldOut


def match_key(text: str) -> str:
    """A text reduced for comparison: letters and digits of its compatibility form, in one case.

    A text without letters and digits is compared as it stands.
    """
    compatible = "".join(unicodedata.normalize("NFKD", character) for character in text)
    folded = nfc(compatible).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded.strip()


Row = TypeVar("Row")


def split(
    rows: Sequence[Row], texts_of: Callable[[Row], Iterable[str]], hold_out: HoldOut | None, seed: int
) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows held out, each in their order; all to train on if nothing is held out.

    Whole clusters of rows that share texts are held out, in a random order, until the wanted number of rows is reached.
    """
    if hold_out is None:
        return list(rows), []
    clusters = _clusters([[match_key(text) for text in texts_of(row)] for row in rows])
    random.Random(seed).shuffle(clusters)  # noqa: S311 - a reproducible choice, not a secret
    first, last = 0.0, len(rows) * hold_out.fraction
    if hold_out.folds:
        first, last = (len(rows) * (hold_out.fold + side) / hold_out.folds for side in (0, 1))
    held: set[int] = set()
    position = 0
    for cluster in clusters:
        middle = position + len(cluster) / 2
        position += len(cluster)
        if first <= middle < last:
            held.update(cluster)
    kept = [row for number, row in enumerate(rows) if number not in held]
    return kept, [rows[number] for number in sorted(held)]


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
