"""Prepared tables as the Trainer reads them, and the form in which a sampler looks for duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasets import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_trainer.data.table import Table

GROUP = "group"


def to_dataset(table: Table) -> Dataset:
    """The columns that a loss reads: texts in order and, for scored pairs, the score."""
    return Dataset.from_dict({name: table.column(name) for name in table.columns if name != GROUP})


class Distinct:
    """Rows as a sampler compares them: each text, and each group, as a number. Looks like a dataset as far as needed.

    Attributes:
        column_names: one name a number in a row.
    """

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """Number what is in the rows: equal strings get equal numbers, in whatever column they stand."""
        known: dict[str, int] = {}
        self._rows = [[known.setdefault(value, len(known)) for value in row] for row in rows]
        self.column_names = [str(position) for position in range(len(self._rows[0]) if self._rows else 0)]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def __getitem__(self, position: int) -> dict[str, int]:
        """One row, by column name."""
        return dict(zip(self.column_names, self._rows[position], strict=True))


def distinct(table: Table) -> Distinct:
    """The rows of a table, kept apart in a batch by their texts and, where there are some, by their groups."""
    groups = table.column(GROUP) if GROUP in table.columns else None
    texts = ([row[position] for position in table.text_columns] for row in table.rows)
    if groups is None:
        return Distinct(list(texts))
    return Distinct([[*row, f"\x00{group}"] for row, group in zip(texts, groups, strict=True)])


def distinct_texts(dataset: Dataset) -> Distinct:
    """The rows of a dataset, kept apart in a batch by their texts."""
    return Distinct([list(row.values()) for row in dataset])
