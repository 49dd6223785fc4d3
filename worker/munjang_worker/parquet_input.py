"""Parquet input: split files into segments of rows, and read a shard's segments as blocks."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from munjang.errors import InvalidJob
from munjang_worker.block import Block, Columns, Problem, choose_columns, output_columns, unite_columns
from munjang_worker.column_types import convert, plain_type
from munjang_worker.plan import STAGED, InputFile, Segment
from munjang_worker.sources import HashingStream, decompressed, open_source
from munjang_worker.storage import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from munjang.bulk.job import JobSpec
    from munjang_worker.plan import Plan, Shard, ShardBuilder
    from munjang_worker.sources import Source
    from munjang_worker.storage import Folder

BUFFER = 1 << 20

TAIL = 8
"""The bytes after the footer: its length, and what marks the file as Parquet."""

MOST_ROWS = 8192
"""Rows of one table, however small they are."""


class ParquetSplitter:
    """Splits one Parquet file after another into shards."""

    def __init__(self, spec: JobSpec, shards: ShardBuilder, folder: Folder, poll: Callable[[], None]) -> None:
        self._spec = spec
        self._shards = shards
        self._folder = folder
        self._poll = poll
        self._columns: Columns | None = None
        self._first = ""

    @property
    def columns(self) -> Columns:
        """The columns of all files so far, in types that hold the values of each."""
        columns = self._columns or Columns("", None, pa.schema([]))
        return output_columns(columns, self._spec, self._first) if self._shards.rows else columns

    def split(self, source: Source, file: int) -> InputFile:
        """Split one file, number `file` of the plan.

        Raises:
            InvalidJob: it cannot be read, or its columns do not unite with those before.
        """
        staged = f"{STAGED}/{file:05d}.parquet" if source.compression else ""
        if not staged:
            rows, footer = self._describe(source, "")
        with open_source(source.url) as opened:
            raw = HashingStream(opened, self._poll)
            plain = decompressed(raw, source.compression, source.url)
            if staged:
                with self._folder.create(staged) as path, path.open("wb") as target:
                    shutil.copyfileobj(plain, target, CHUNK)
            sha256 = raw.finish()
        if staged:
            rows, footer = self._describe(source, staged)
        start = 0
        while start < rows:
            end = min(rows, start + self._shards.room)
            segment = Segment(file=file, start=start, end=end, rows=end - start, staged=staged, sha256=footer)
            self._shards.add(segment)
            start = end
        return InputFile(url=source.url, size=raw.size, sha256=sha256)

    def _describe(self, source: Source, staged: str) -> tuple[int, str]:
        """How many rows a file has, and the sha256 of its footer."""
        url = source.url
        with self._folder.open(staged) if staged else open_source(url) as opened:
            footer = _footer_digest(opened, url)
            parquet = _open(opened, url)
            with _damage(url):
                types = {column.name: plain_type(column.type) for column in parquet.schema_arrow}
                names = parquet.schema_arrow.names
            columns = choose_columns(names, types, self._spec, url)
            rows = int(parquet.metadata.num_rows)
        kind = types[columns.text]
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        if not pa.types.is_string(kind) and not pa.types.is_null(kind):
            msg = f"text_column: {columns.text!r} of {url!r} holds {kind}, not text"
            raise InvalidJob(msg, field="text_column")
        if not pa.types.is_null(columns.schema.field("id").type):  # another file may have ids
            output_columns(columns, self._spec, url)
        if self._columns is None:
            self._columns, self._first = columns, url
        else:
            self._columns = unite_columns(self._columns, columns, self._first, url)
        return rows, footer


def read_parquet(plan: Plan, shard: Shard, folder: Folder, piece_bytes: int) -> Iterator[Block]:
    """A shard's rows in pieces of at most `plan.block_rows` rows and about `piece_bytes` bytes.

    Raises:
        InvalidJob: a file is damaged, or not what was planned.
        OSError: a file cannot be read.
    """
    columns = plan.chosen
    first, room = shard.first_row, plan.block_rows
    for segment in shard.segments:
        url = plan.files[segment.file].url
        with folder.open(segment.staged) if segment.staged else open_source(url) as file:
            if not segment.staged and _footer_digest(file, url) != segment.sha256:
                raise plan.changed(segment)
            for table in _read_rows(file, url, columns, range(segment.start, segment.end), piece_bytes):
                start = 0
                while start < len(table):
                    piece = table.slice(start, room)
                    yield _block_of(first, piece, plan)
                    first, start = first + len(piece), start + len(piece)
                    room = (room - len(piece)) or plan.block_rows


def _footer_digest(file: IO[bytes], url: str) -> str:
    """The sha256 of a file's footer, which holds place, size and value range of everything in the file."""
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


def _read_rows(file: IO[bytes], url: str, columns: Columns, rows: range, size: int) -> Iterator[pa.Table]:
    """Some rows of the columns that the job reads, as tables of about `size` bytes at most."""
    parquet = _open(file, url)
    groups, skip = _groups(parquet.metadata, rows)
    names = list(dict.fromkeys([columns.text, *([] if columns.id is None else [columns.id]), *columns.carried]))
    left = len(rows)
    batch = _batch_rows(parquet.metadata, groups, names, size)
    with _damage(url):
        for found in parquet.iter_batches(batch_size=batch, row_groups=groups, columns=names):
            kept = found.slice(min(skip, len(found)), left)
            skip = max(0, skip - len(found))
            if len(kept):
                left -= len(kept)
                yield pa.table(kept)
            if not left:
                return


def _block_of(first: int, table: pa.Table, plan: Plan) -> Block:
    """The block of a table from `_read_rows`; a value that does not fit its column's output type costs its row."""
    columns = plan.chosen
    problems: dict[int, Problem] = {}
    data: list[Any] = []
    for index, field in enumerate(columns.schema):
        name = field.name if index else columns.id
        if name is None:
            data.append(pa.array(range(first, first + len(table)), field.type))
            continue
        column, failures = convert(table.column(name), field.type, as_json=plan.spec.format != "parquet")
        data.append(column)
        for position, error in failures.items():
            msg = f"{name!r} holds what {plan.spec.format} cannot hold as {field.type}: {error}"
            problems.setdefault(position, Problem("MALFORMED_ROW", msg))
        if index == 0:
            for position in pc.indices_nonzero(column.is_null()).to_pylist():
                problems.setdefault(position, Problem("MISSING_ID", f"the row has no {name!r}"))
    texts = _strings(table.column(columns.text).cast(pa.string()))
    return Block(first=first, table=pa.Table.from_arrays(data, schema=columns.schema), problems=problems, texts=texts)


def _open(file: IO[bytes], url: str) -> Any:
    with _damage(url):
        return pq.ParquetFile(file, buffer_size=BUFFER)


@contextmanager
def _damage(url: str) -> Iterator[None]:
    """Turn errors of the Parquet data into InvalidJob; errors of the storage are passed on."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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


def _strings(column: pa.ChunkedArray) -> list[object]:
    """The texts; bytes that are not UTF-8 become unpaired surrogates, as the text formats have them."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        binary = column.cast(pa.binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in binary]
