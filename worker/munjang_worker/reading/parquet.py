"""Parquet files: what is in them, and their rows as tables of the columns that a job reads."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from munjang.errors import InvalidJob
from munjang_worker.reading.block import Block, Columns, Problem, choose_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.bulk.job import JobSpec

TEXT = "\0text"
"""The text column's name in the tables: one that no other column has."""

BUFFER = 1 << 20

TAIL = 8
"""The bytes after the footer: its length, and what marks the file as Parquet."""

MOST_ROWS = 8192
"""Rows of one table, however small they are."""


def describe(file: IO[bytes], spec: JobSpec, url: str) -> tuple[Columns, int]:
    """The columns of a job, and the number of rows.

    Raises:
        InvalidJob: not a Parquet file, or its columns are not as asked.
    """
    parquet = _open(file, url)
    schema: pa.Schema = parquet.schema_arrow
    types = {column.name: _plain_type(column.type) for column in schema}
    columns = choose_columns(schema.names, types, spec, url)
    kind = types[columns.text]
    if not pa.types.is_string(kind) and not pa.types.is_null(kind):
        msg = f"text_column: {columns.text!r} of {url!r} holds {kind}, not text"
        raise InvalidJob(msg, field="text_column")
    return columns, int(parquet.metadata.num_rows)


def footer_digest(file: IO[bytes], url: str) -> str:
    """The sha256 of a file's footer, in hexadecimal: it names place, size and range of all that is in the file.

    Raises:
        InvalidJob: the file has none.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    length = int.from_bytes(file.read(TAIL)[:4], "little")
    if size < TAIL + length:
        msg = f"input: {url!r} is not a Parquet file that can be read: it is too short"
        raise InvalidJob(msg, field="input")
    file.seek(size - TAIL - length)
    digest = hashlib.sha256(file.read(length)).hexdigest()
    file.seek(0)
    return digest


def read_rows(file: IO[bytes], url: str, columns: Columns, rows: range, size: int) -> Iterator[pa.Table]:
    """Some rows as tables of about `size` bytes at most: the text column as TEXT, then id and carried columns.

    The columns have the output's types, whatever strings and dictionaries the file has them as.

    Raises:
        InvalidJob: the file is damaged.
    """
    parquet = _open(file, url)
    groups, skip = _groups(parquet.metadata, rows)
    names = list(dict.fromkeys([columns.text, *([columns.id] if columns.id else []), *columns.carried]))
    left = len(rows)
    batch = _batch_rows(parquet.metadata, groups, names, size)
    with _damage(url):
        for found in parquet.iter_batches(batch_size=batch, row_groups=groups, columns=names):
            kept = found.slice(min(skip, len(found)), left)
            skip = max(0, skip - len(found))
            if len(kept):
                left -= len(kept)
                yield _as_output(pa.table(kept), columns)
            if not left:
                return


def block_of(first: int, table: pa.Table, columns: Columns) -> Block:
    """A block of a table that `read_rows` gave."""
    texts = _strings(table.column(TEXT))
    problems: dict[int, Problem] = {}
    data = {name: _valid(table.column(name), name, problems) for name in table.column_names if name != TEXT}
    if columns.id:
        for position, missing in enumerate(data["id"].is_null().to_pylist()):
            if missing:
                problems.setdefault(position, Problem("MISSING_ID", f"the row has no {columns.id!r}"))
    else:
        data["id"] = pa.array(range(first, first + len(texts)), pa.int64())
    arrays = [data[name] for name in columns.schema.names]
    return Block(first, texts, pa.Table.from_arrays(arrays, schema=columns.schema), problems)


def _open(file: IO[bytes], url: str) -> Any:
    with _damage(url):
        return pq.ParquetFile(file, buffer_size=BUFFER)


@contextmanager
def _damage(url: str) -> Iterator[None]:
    """Tell what Parquet cannot make sense of from what the storage below refuses, which goes through."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise
        msg = f"input: {url!r} is not a Parquet file that can be read: {error}"
        raise InvalidJob(msg, field="input") from error


def _groups(metadata: Any, rows: range) -> tuple[list[int], int]:
    """The row groups that hold some rows, and how many rows of the first come before them."""
    groups: list[int] = []
    skip = position = 0
    for index in range(metadata.num_row_groups):
        count = metadata.row_group(index).num_rows
        if position < rows.stop and position + count > rows.start:
            if not groups:
                skip = rows.start - position
            groups.append(index)
        position += count
    return groups, skip


def _batch_rows(metadata: Any, groups: list[int], names: list[str], size: int) -> int:
    """How many rows of some groups and columns are about so many bytes."""
    rows = stored = 0
    for group in (metadata.row_group(index) for index in groups):
        rows += group.num_rows
        parts = (group.column(index) for index in range(group.num_columns))
        stored += sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in names)
    return max(1, min(MOST_ROWS, size * rows // max(1, stored)))


def _as_output(table: pa.Table, columns: Columns) -> pa.Table:
    data = {TEXT: table.column(columns.text).cast(pa.string())}
    for field in columns.schema:
        name = columns.id if field.name == "id" else field.name
        if name:
            data[field.name] = table.column(name).cast(field.type)
    return pa.table(data)


def _valid(column: pa.ChunkedArray, name: str, problems: dict[int, Problem]) -> pa.ChunkedArray:
    """A column without the values that no program could read, whose rows become problems."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        kept: list[int | None] = []
        for position in range(len(column)):
            try:
                column.take([position]).validate(full=True)
                kept.append(position)
            except pa.ArrowInvalid:
                kept.append(None)
                problems[position] = Problem("MALFORMED_ROW", f"{name!r} holds bytes that are not valid UTF-8")
        return column.take(pa.array(kept, pa.int64()))
    return column


def _strings(column: pa.ChunkedArray) -> list[object]:
    """The texts; bytes that are not UTF-8 become unpaired surrogates, as the text formats have them."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        binary = column.cast(pa.binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in binary]


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that the output has for a column: strings and dictionaries of strings are one."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
