"""What was prepared, in figures: rows read, dropped and why, leaks, lengths, samples, content hashes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from munjang_trainer.data.leaks import Leak  # noqa: TC001 - pydantic needs the type at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from munjang_trainer.data.files import Tally
    from munjang_trainer.data.table import Table


REFERENCE_BATCH = 64
SAMPLES = 3
MEASURED_ROWS = 10_000
"""Lengths are measured on so many rows, evenly spread: enough for two digits, and quick on a million rows."""


class Spread(BaseModel):
    """The least, mean and greatest length of a text column."""

    least: int
    mean: float
    most: int


class TableReport(BaseModel):
    """One table: where it came from and what is in it.

    Attributes:
        kind: what a row is.
        files: the files as the recipe names them.
        licence, origin: of the data, as the recipe says.
        read: rows read from the files.
        dropped: rows left out, by reason.
        rows: rows of the table.
        in_whole_batches: rows that fill whole batches of 64, which is the count that the reference's card reports.
        characters, tokens: lengths by text column; tokens only if a tokenizer was at hand.
        samples: the first rows.
        sha256: the hash of the content.
    """

    kind: str
    files: list[str] = []
    licence: str = ""
    origin: str = ""
    read: int = 0
    dropped: dict[str, int] = {}
    rows: int
    in_whole_batches: int
    characters: dict[str, Spread] = {}
    tokens: dict[str, Spread] = {}
    samples: list[list[Any]] = []
    sha256: str


class DataReport(BaseModel):
    """All that was prepared; it is written last, so that it marks a whole folder."""

    request: dict[str, Any] = {}
    seed: int
    sources: dict[str, TableReport]
    evaluation: dict[str, TableReport]
    missing: list[str] = []
    leaks: list[Leak] = []

    @property
    def fingerprint(self) -> str:
        """One hash over the content of everything that is trained on."""
        lines = [f"{name} {report.sha256}" for name, report in sorted(self.sources.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe(table: Table, tally: Tally, lengths: Callable[[Sequence[str]], Sequence[int]] | None) -> TableReport:
    """Measure a table; `lengths` counts the tokens of texts."""
    return TableReport(
        kind=table.kind,
        read=tally.read,
        dropped=dict(sorted(tally.dropped.items())),
        rows=len(table.rows),
        in_whole_batches=len(table.rows) // REFERENCE_BATCH * REFERENCE_BATCH,
        characters=_spreads(table, lambda texts: [len(text) for text in texts]),
        tokens=_spreads(table, lengths) if lengths else {},
        samples=[list(row) for row in table.rows[:SAMPLES]],
        sha256=table.fingerprint(),
    )


def _spreads(table: Table, lengths: Callable[[Sequence[str]], Sequence[int]]) -> dict[str, Spread]:
    if not table.rows:
        return {}
    rows = table.rows[:: max(1, len(table.rows) // MEASURED_ROWS)]
    spreads: dict[str, Spread] = {}
    for position in table.text_columns:
        counts = lengths([row[position] for row in rows])
        mean = round(sum(counts) / len(counts), 2)
        spreads[table.columns[position]] = Spread(least=min(counts), mean=mean, most=max(counts))
    return spreads
