"""Keeps training and evaluation apart: hold-out splits, and a check for texts that are in both."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from functools import partial
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


def text_hash(text: str) -> str:
    """The hash by which a text is known where it may not be kept: the sha256 of its `match_key`, hexadecimal."""
    return hashlib.sha256(match_key(text).encode()).hexdigest()


class Known:
    """The texts of evaluation sets, by set: as they are, or as hashes."""

    def __init__(self, evaluation: Mapping[str, Table], hashes: Mapping[str, frozenset[str]]) -> None:
        """Take tables, and sets of `text_hash`; the name of a set is in one of both."""
        self._keys = {name: _keys(table) for name, table in evaluation.items()}
        self._hashes = hashes

    def leaks(self, sources: Mapping[str, Table]) -> list[Leak]:
        """Every pair of a training source and an evaluation set that have texts in common."""
        names = [*self._keys, *self._hashes]
        found = (
            _compare(source, table, name, partial(self._holds, name))
            for name in names
            for source, table in sources.items()
        )
        return [leak for leak in found if leak.rows]

    def without(self, table: Table) -> Table:
        """The rows of a table that have no text in common with any evaluation set."""
        names = [*self._keys, *self._hashes]
        positions = table.text_columns

        def known(row: Sequence[str]) -> bool:
            return any(self._holds(name, row[position]) for position in positions for name in names)

        return Table(table.kind, [row for row in table.rows if not known(row)])

    def _holds(self, name: str, text: str) -> bool:
        if name in self._hashes:
            return text_hash(text) in self._hashes[name]
        return match_key(text) in self._keys[name]


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


def _compare(source: str, table: Table, evaluation: str, holds: Callable[[str], bool]) -> Leak:
    shared: dict[str, str] = {}
    rows = whole = 0
    for row in table.rows:
        texts = [row[position] for position in table.text_columns]
        common = [text for text in texts if holds(text)]
        rows += bool(common)
        whole += len(common) == len(texts)
        for text in common:
            shared.setdefault(match_key(text), text)
    examples = list(shared.values())[:EXAMPLES]
    return Leak(source=source, evaluation=evaluation, rows=rows, whole_rows=whole, texts=len(shared), examples=examples)
