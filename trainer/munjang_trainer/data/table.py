"""A prepared table: named columns, rows, what a row is, and its content hash. Parquet on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from munjang.errors import ConfigurationError
from munjang.kinds import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["triplets", "pairs", "sts", "groups", "retrieval"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "triplets": ("anchor", "positive", "negative"),
    "pairs": ("anchor", "positive", "group"),
    "sts": ("sentence1", "sentence2", "score"),
    "groups": ("text", "group"),
    "retrieval": ("query_id", "query", "document_id", "document", "relevance"),
}
"""Columns by kind. `score` is a number from 0 to 1; `group` names what belongs together; a row of `retrieval` is a
judgement, whose `relevance` is a grade, and a row with an empty query id adds a document that answers no query. All
others are texts. Triplets with several negatives have negative_1, negative_2… in place of negative."""

NOT_TEXT = frozenset({"score", "group", "query_id", "document_id", "relevance"})
ROLES = {"query": Role.QUERY, "document": Role.DOCUMENT}


def columns_of(kind: Kind, width: int) -> tuple[str, ...]:
    """The names of the columns of a table of that kind and width; 0 stands for its least width."""
    names = COLUMNS[kind]
    if kind == "triplets" and width > len(names):
        return (*names[:2], *(f"negative_{number}" for number in range(1, width - 1)))
    return names


@dataclass(frozen=True)
class Table:
    """Rows of one kind; a row has one value for each of the kind's columns."""

    kind: Kind
    rows: list[tuple[Any, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return columns_of(self.kind, len(self.rows[0]) if self.rows else 0)

    @property
    def text_columns(self) -> tuple[int, ...]:
        """The positions of the columns that hold texts."""
        return tuple(i for i, name in enumerate(self.columns) if name not in NOT_TEXT)

    def column(self, name: str) -> list[Any]:
        """All values of one column."""
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def texts(self) -> list[str]:
        """Every text, row by row."""
        return [row[position] for row in self.rows for position in self.text_columns]

    def texts_by_role(self) -> Iterator[tuple[Role | None, str]]:
        """Every text with its role, which is None where texts are compared with each other; row by row."""
        if self.kind != "retrieval":
            yield from ((None, text) for text in self.texts())
            return
        for query_id, query, _, document, _ in self.rows:
            if query_id:
                yield Role.QUERY, query
            yield Role.DOCUMENT, document

    def fingerprint(self) -> str:
        """The sha256 of the content, independent of its file format: hexadecimal."""
        digest = hashlib.sha256(f"{self.kind}\x1e".encode())
        for row in self.rows:
            digest.update("\x1f".join(_written(value) for value in row).encode() + b"\x1e")
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Write Parquet whose metadata names the kind."""
        arrays = [pa.array(self.column(name)) for name in self.columns]
        table = pa.Table.from_arrays(arrays, names=list(self.columns))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"munjang.kind": self.kind}), path)


def read_table_file(path: Path) -> Table:
    """Read what `Table.write` wrote.

    Raises:
        ConfigurationError: the file is not there, or not a prepared table.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path} cannot be read as a prepared table: {error}"
        raise ConfigurationError(msg, field="data") from error
    kind = (table.schema.metadata or {}).get(b"munjang.kind", b"").decode()
    for known in COLUMNS:
        if (known, list(columns_of(known, table.num_columns))) == (kind, table.column_names):
            columns = (column.to_pylist() for column in table.columns)
            return Table(known, list(zip(*columns, strict=True)))
    msg = f"{path} is not a table that `prepare` wrote"
    raise ConfigurationError(msg, field="data")


def _written(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)
