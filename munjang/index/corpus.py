"""The rows of a corpus, for updates: JSON Lines, CSV, TSV or Parquet, with ids, texts and the columns of a table.

A line that cannot be read is an error, never a row that is not there: an update deletes what a corpus does not have.
"""

from __future__ import annotations

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from munjang.delimited import BufferedLines, Malformed, column_names, read_records
from munjang.errors import InvalidJob
from munjang.index.layout import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.index.layout import Layout

READ_ROWS = 4096


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One row: its id, its text, and the values of the layout's columns in their order."""

    id: Any
    text: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files of rows.

    Attributes:
        source: a file, a glob or a folder.
        text_column: where the texts are.
        id_column: where the ids are.
        encoding: of text files.
    """

    source: str
    text_column: str = "text"
    id_column: str = "id"
    encoding: str = "utf-8"

    def files(self) -> list[Path]:
        """The files, sorted.

        Raises:
            InvalidJob: there is none.
        """
        path = Path(self.source).expanduser()
        found = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
        if not path.exists():
            found = [Path(one) for one in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - may be absolute
        found = sorted(one for one in found if not one.name.startswith("."))
        if not found:
            msg = f"{self.source!r} is no file, and no glob or folder of files"
            raise InvalidJob(msg, field="corpus")
        return found

    def rows(self, layout: Layout) -> Iterator[CorpusRow]:
        """All rows, with the values that a table of this layout keeps.

        Raises:
            InvalidJob: a row cannot be read, or lacks an id, a text or a column; the message says which and where.
        """
        for path in self.files():
            for number, record in enumerate(self._records(path), 1):
                yield self._row(record, layout, f"{path}, row {number}")

    def _records(self, path: Path) -> Iterator[dict[str, Any]]:
        match path.suffix.lower():
            case ".jsonl" | ".ndjson":
                yield from _json_lines(path, self.encoding)
            case ".csv" | ".tsv":
                yield from _delimited(path, self.encoding)
            case ".parquet":
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(READ_ROWS):
                        yield from batch.to_pylist()
            case _:
                msg = f"{path}: a corpus is .jsonl, .csv, .tsv or .parquet"
                raise InvalidJob(msg, field="corpus")

    def _row(self, record: dict[str, Any], layout: Layout, where: str) -> CorpusRow:
        for name in (self.id_column, self.text_column, *layout.column_names):
            if name not in record:
                msg = f"{where} has no column {name!r}; it has {', '.join(map(repr, record)) or 'none'}"
                raise InvalidJob(msg, field="corpus")
        row_id, text = record[self.id_column], record[self.text_column]
        if row_id is None or not isinstance(text, str):
            msg = f"{where} has no id, or a text that is no text"
            raise InvalidJob(msg, field="corpus")
        try:
            values = tuple(_convert(record[name], kind) for name, kind in layout.columns)
            row_id = _convert(row_id, "int" if layout.id_type == "int" else "text")
        except (ValueError, TypeError) as error:
            msg = f"{where} does not fit the index: {error}"
            raise InvalidJob(msg, field="corpus") from error
        return CorpusRow(row_id, text, values)


def _json_lines(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding=_marked(encoding), newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                msg = f"{path}, line {number} is not valid JSON: {error}"
                raise InvalidJob(msg, field="corpus") from error
            if not isinstance(record, dict):
                msg = f"{path}, line {number} is not a JSON object"
                raise InvalidJob(msg, field="corpus")
            yield record


def _delimited(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    quotes = path.suffix.lower() == ".csv"
    with path.open(encoding=_marked(encoding), newline="\n") as file:
        records = read_records(BufferedLines(file), "," if quotes else "\t", quotes=quotes)
        header = column_names(next(records, Malformed("")))
        for number, record in enumerate(records, 1):
            if isinstance(record, Malformed) or len(record) != len(header):
                why = record.message if isinstance(record, Malformed) else f"it has {len(record)} fields"
                msg = f"{path}, row {number} does not fit the header of {len(header)} columns: {why}"
                raise InvalidJob(msg, field="corpus")
            yield dict(zip(header, record, strict=True))


def _marked(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def _convert(value: Any, kind: str) -> Any:
    """A value as a column of a table holds it; what is no text becomes JSON, as when a job's folder is loaded."""
    if value is None or (value == "" and kind != "text"):
        return None
    match kind:
        case "int":
            return _whole(value)
        case "float":
            return float(value)
        case "bool":
            return _boolean(value)
        case _:
            return value if isinstance(value, str) else as_text(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        msg = f"{value!r} is no whole number"
        raise ValueError(msg)
    return int(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in {"true", "false"}:
        msg = f"{value!r} is neither true nor false"
        raise ValueError(msg)
    return bool(value == "true")
