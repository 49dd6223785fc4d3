"""Data files, local or behind any fsspec URL, compressed or not, row by row. What a row means is left to others."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

csv.field_size_limit(1 << 30)


@dataclass
class RowCounts:
    """How many rows were read, and how many were dropped for which reason."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] += 1


def resolve_address(folder: str, file: str) -> str:
    """The address of a file: as it stands if absolute or a URL, else below the folder."""
    if "://" in file or file.startswith("/"):
        return file
    return f"{folder.rstrip('/')}/{file}" if folder else file


def file_exists(address: str) -> bool:
    """Whether there is such a file."""
    filesystem, path = fsspec.core.url_to_fs(address)
    return bool(filesystem.isfile(path))


def file_state(address: str) -> str:
    """What changes when the file does (its size and time, or what the store says), or "" if there is none."""
    filesystem, path = fsspec.core.url_to_fs(address)
    try:
        return str(filesystem.ukey(path))
    except OSError:
        return ""


def read_lines(address: str) -> Iterator[str]:
    """The lines of a UTF-8 file, split at line feeds only: U+2028 and its like belong to the text.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        with fsspec.open(address, "rt", encoding="utf-8-sig", newline="\n", compression="infer") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        msg = f"{address} cannot be read: {error}"
        raise ConfigurationError(msg, field="data") from error


def read_table(address: str, columns: tuple[str, ...], counts: RowCounts) -> Iterator[tuple[str, ...]]:
    """The named columns of a table with a header, row by row.

    Tab-separated files know no quoting: a quotation mark is a character of the text (read with quoting, KorSTS dev has
    1,471 rows instead of 1,500). Comma-separated files have it. Rows with another number of cells are dropped.

    Raises:
        ConfigurationError: the file cannot be read, or has no such column.
    """
    if _suffix(address) == ".parquet":
        yield from _read_parquet(address, columns, counts)
        return
    lines = (line for line in read_lines(address) if line)
    rows = csv.reader(lines) if _suffix(address) == ".csv" else (line.split("\t") for line in lines)
    header: list[str] = next(iter(rows), [])
    positions = [_position(address, header, column) for column in columns]
    for row in rows:
        counts.read += 1
        if len(row) != len(header):
            counts.drop("wrong number of columns")
            continue
        yield tuple(row[position] for position in positions)


def read_records(address: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON list, or of a file of JSON lines.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        if _suffix(address) == ".jsonl":
            yield from (json.loads(line) for line in read_lines(address) if line)
            return
        yield from json.loads("\n".join(read_lines(address)))
    except json.JSONDecodeError as error:
        msg = f"{address} is not JSON: {error}"
        raise ConfigurationError(msg, field="data") from error


def _suffix(address: str) -> str:
    path = PurePosixPath(address.partition("?")[0])
    return PurePosixPath(path.stem).suffix if path.suffix in {".gz", ".zst", ".xz", ".bz2"} else path.suffix


def _position(address: str, header: list[str], column: str) -> int:
    if column not in header:
        msg = f"{address} has no column {column!r}; it has {', '.join(header) or 'no header'}"
        raise ConfigurationError(msg, field="data")
    return header.index(column)


def _read_parquet(address: str, columns: tuple[str, ...], counts: RowCounts) -> Iterator[tuple[str, ...]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this format needs it

    with fsspec.open(address, "rb") as file:
        parquet = pq.ParquetFile(file)
        for column in columns:
            _position(address, parquet.schema_arrow.names, column)
        for batch in parquet.iter_batches(columns=list(columns)):
            for row in batch.to_pylist():
                counts.read += 1
                yield tuple("" if row[column] is None else str(row[column]) for column in columns)
