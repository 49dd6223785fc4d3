"""Data files, local or behind any fsspec URL, compressed or not, row by row. Callers decide what a row means."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec

from munjang.delimited import BufferedLines, Malformed, column_names
from munjang.delimited import read_records as read_delimited
from munjang.encodings import SAMPLE_BYTES, likely_encoding, stored_path
from munjang.errors import ConfigurationError
from munjang.normalization import nfc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO


SHIPPED_SCHEME = "shipped://"
SHIPPED_DATA = Path(__file__).parents[1] / "recipes" / "data"


def clean(text: str) -> str:
    """A text without white space around it, composed (NFC) as the encoder composes what it is given."""
    return nfc(text.strip())


@dataclass
class RowCounts:
    """How many rows were read, and how many were dropped for which reason."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] += 1


def resolve_address(folder: str, file: str) -> str:
    """The address of a file: as it stands if absolute or a URL, else below the folder; local names as on the disk.

    `shipped://NAME` is a file of our own making that comes with munjang.
    """
    if file.startswith(SHIPPED_SCHEME):
        return str(SHIPPED_DATA / file.removeprefix(SHIPPED_SCHEME))
    absolute = "://" in file or file.startswith("/") or not folder
    address = file if absolute else f"{folder.rstrip('/')}/{file}"
    return address if "://" in address else stored_path(address)


def file_exists(address: str) -> bool:
    """Whether there is such a file."""
    filesystem, path = fsspec.core.url_to_fs(address)
    return bool(filesystem.isfile(path))


def file_state(address: str) -> str:
    """A stamp that changes with the file (its size and time, or what the store reports), or "" if there is none."""
    filesystem, path = fsspec.core.url_to_fs(address)
    try:
        return str(filesystem.ukey(path))
    except OSError:
        return ""


def read_lines(address: str, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file, split at line feeds only: U+2028 and similar characters belong to the text.

    Raises:
        ConfigurationError: the file cannot be read, or has another encoding.
    """
    with _open_text(address, encoding) as file:
        for line in file:
            yield line.rstrip("\r\n")


def read_table(
    address: str, columns: tuple[str, ...], counts: RowCounts, encoding: str = "utf-8"
) -> Iterator[tuple[str, ...]]:
    """The named columns of a table with a header, row by row.

    Tab-separated files have no quoting: a quotation mark is a character of the text (read with quoting, KorSTS dev has
    1,471 rows instead of 1,500). Comma-separated files have it, also across line ends. Rows with another number of
    cells, or with a quote out of place, are dropped.

    Raises:
        ConfigurationError: the file cannot be read, has another encoding, or no such column.
    """
    suffix = suffix_of(address)
    if suffix == ".parquet":
        yield from _read_parquet(address, columns, counts)
        return
    quotes = suffix == ".csv"
    with _open_text(address, encoding) as file:
        records = read_delimited(BufferedLines(file), "," if quotes else "\t", quotes=quotes)
        header = column_names(next(records, []))
        positions = [_position(address, header, column) for column in columns]
        for record in records:
            counts.read += 1
            if isinstance(record, Malformed):
                counts.drop("a quote or line end out of place")
            elif len(record) != len(header):
                counts.drop("wrong number of columns")
            else:
                yield tuple(record[position] for position in positions)


def read_records(address: str, encoding: str = "utf-8") -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON list, of the list `data` in a JSON object, of JSON lines or of Parquet.

    Raises:
        ConfigurationError: it is none of them, or cannot be read.
    """
    if suffix_of(address) == ".parquet":
        yield from _parquet_records(address)
        return
    try:
        if suffix_of(address) == ".jsonl":
            yield from (json.loads(line) for line in read_lines(address, encoding) if line)
            return
        content = json.loads("\n".join(read_lines(address, encoding)))
    except json.JSONDecodeError as error:
        msg = f"{address} is not JSON: {error}"
        raise ConfigurationError(msg, field="data") from error
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{address} holds no list of objects"
        raise ConfigurationError(msg, field="data")
    yield from rows


@contextmanager
def _open_text(address: str, encoding: str) -> Iterator[TextIO]:
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    try:
        with fsspec.open(address, "rt", encoding=codec, newline="\n", compression="infer") as file:
            yield file
    except UnicodeError as error:
        likely = _likely_encoding(address)
        advice = "it is damaged, or in an encoding that is not known here: convert it to utf-8"
        if likely not in {"", encoding}:
            where = f"write `encoding: {likely}` beside its `files` in the recipe, or --encoding {likely}"
            advice = f"it looks like {likely}: {where}"
        msg = f"{address} cannot be read as {encoding} ({error}); {advice}"
        raise ConfigurationError(msg, field="data") from error
    except (OSError, ValueError) as error:
        msg = f"{address} cannot be read: {error}"
        raise ConfigurationError(msg, field="data") from error


def _likely_encoding(address: str) -> str:
    with fsspec.open(address, "rb", compression="infer") as file:
        return likely_encoding(file.read(SAMPLE_BYTES))


def suffix_of(address: str) -> str:
    """The ending of a file's name without that of its compression: `.tsv` for `a.tsv.gz`."""
    path = PurePosixPath(address.partition("?")[0])
    return PurePosixPath(path.stem).suffix if path.suffix in {".gz", ".zst", ".xz", ".bz2"} else path.suffix


def _position(address: str, header: Sequence[str], column: str) -> int:
    if header.count(column) > 1:
        msg = f"{address} has more than one column {column!r}"
        raise ConfigurationError(msg, field="data")
    if column not in header:
        msg = f"{address} has no column {column!r}; it has {', '.join(header) or 'no header'}"
        raise ConfigurationError(msg, field="data")
    return header.index(column)


def _read_parquet(address: str, columns: tuple[str, ...], counts: RowCounts) -> Iterator[tuple[str, ...]]:
    for row in _parquet_records(address, columns):
        counts.read += 1
        yield tuple("" if row[column] is None else str(row[column]) for column in columns)


def _parquet_records(address: str, columns: tuple[str, ...] = ()) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file, with these columns or, if none is named, all of them."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this format needs it

    with fsspec.open(address, "rb") as file:
        parquet = pq.ParquetFile(file)
        for column in columns:
            _position(address, parquet.schema_arrow.names, column)
        for batch in parquet.iter_batches(columns=list(columns) or None):
            yield from batch.to_pylist()
