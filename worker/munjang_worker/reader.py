"""The input of a job: split once into shards and hashed; later each shard's rows are read back.

A plain text file is split at bytes, a Parquet file at rows. A compressed file, or one in UTF-16, has no random access.
So splitting stores each shard's part of it in the output folder, compressed again and in UTF-8. Its rows are then read
once more, not once per shard. `text_formats` and `parquet_input` decide what a row is.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from munjang.delimited import column_names
from munjang.encodings import is_line_wise
from munjang.errors import InvalidJob
from munjang_worker.block import (
    ROW_NUMBER,
    SAMPLE,
    Block,
    Problem,
    choose_columns,
    infer_types,
    make_block,
    output_columns,
)
from munjang_worker.parquet_input import ParquetSplitter, read_parquet
from munjang_worker.plan import STAGED, InputFile, Segment
from munjang_worker.sources import HashingStream, decompressed, open_source, open_text
from munjang_worker.text_formats import Lines, text_format

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from munjang.bulk.job import JobSpec
    from munjang_worker.block import Columns
    from munjang_worker.plan import Plan, Shard, ShardBuilder
    from munjang_worker.sources import Source
    from munjang_worker.storage import Folder
    from munjang_worker.text_formats import TextFormat

PIECE_CHARS = 4 << 20
"""A piece ends once its texts have so many characters, however few rows that are."""


def split_input(
    sources: list[Source], spec: JobSpec, shards: ShardBuilder, folder: Folder, poll: Callable[[], None]
) -> tuple[Columns, list[str], list[InputFile]]:
    """Split a job's files into shards; the columns, the header of CSV and TSV, and size and sha256 of each file.

    Raises:
        InvalidJob: a file cannot be read, lacks a column, or has other columns than the first.
    """
    if sources[0].format == "parquet":
        parquet = ParquetSplitter(spec, shards, folder, poll)
        files = [parquet.split(source, number) for number, source in enumerate(sources)]
        return parquet.columns, [], files
    kind = text_format(sources[0].format, spec)
    columns, header = _text_columns(sources, kind, spec)
    columns = output_columns(columns, spec, sources[0].url)
    text = _TextSplitter(kind, spec.encoding, shards, folder, poll)
    return columns, header, [text.split(source, number) for number, source in enumerate(sources)]


def read_pieces(plan: Plan, shard: Shard, folder: Folder) -> Generator[Block]:
    """The rows of a shard in pieces. Each block of `plan.block_rows` is one piece, or several if texts are long.

    Raises:
        InvalidJob: the input is not what was planned.
        OSError: the input cannot be read.
    """
    if plan.format == "parquet":
        yield from read_parquet(plan, shard, folder, PIECE_CHARS)
    else:
        yield from _read_text(plan, shard, folder)


def _text_columns(sources: list[Source], kind: TextFormat, spec: JobSpec) -> tuple[Columns, list[str]]:
    """The columns of text files and, for CSV and TSV, the header."""
    if kind.has_header:
        source, header = _header(sources, kind, spec.encoding)
        return choose_columns(header, {}, spec, source.url), header
    if sources[0].format == "txt":
        return choose_columns([spec.text_column], {}, spec, sources[0].url), []
    return _json_columns(sources, kind, spec), []


def _header(sources: list[Source], kind: TextFormat, encoding: str) -> tuple[Source, list[str]]:
    """The first file that is not empty, and its header."""
    for source in sources:
        for item in _first_items(source, kind, encoding, 1):
            return source, column_names(item)
    msg = f"input: {sources[0].url!r} is empty; its first row must name the columns"
    raise InvalidJob(msg, field="input")


def _json_columns(sources: list[Source], kind: TextFormat, spec: JobSpec) -> Columns:
    id_column = spec.id_column or "id"
    for source in sources:
        sample = [kind.values(item) for item in _first_items(source, kind, spec.encoding, SAMPLE)]
        if sample:
            types = infer_types([record for record in sample if not isinstance(record, Problem)])
            if types.get(id_column, ROW_NUMBER) != ROW_NUMBER:  # ids are whole numbers or strings
                types[id_column] = pa.string()
            return choose_columns(list(types), types, spec, source.url)
    return choose_columns([spec.text_column, spec.id_column, *spec.carry_columns], {}, spec, "")  # no rows at all


def _first_items(source: Source, kind: TextFormat, encoding: str, count: int) -> Iterator[Any]:
    stream, _ = open_text(source, encoding)
    with stream:
        yield from islice(kind.items(Lines(stream)), count)


class _TextSplitter:
    """Splits one text file after another into shards."""

    def __init__(
        self, kind: TextFormat, encoding: str, shards: ShardBuilder, folder: Folder, poll: Callable[[], None]
    ) -> None:
        self._kind = kind
        self._encoding = encoding
        self._shards = shards
        self._folder = folder
        self._poll = poll
        self._header: list[str] | None = None

    def split(self, source: Source, file: int) -> InputFile:
        """Split one file, number `file` of the plan."""
        stream, raw = open_text(source, self._encoding, self._poll)
        with stream, ExitStack() as copies:
            lines = Lines(stream)
            items = self._kind.items(lines)
            self._check_header(items, source.url)
            staged = source.compression or not is_line_wise(self._encoding)
            recorder = _SegmentRecorder(lines, file, self._folder if staged else None, copies)
            recorder.start(self._shards.number)
            room = self._shards.room
            for _ in items:
                recorder.rows += 1
                if recorder.rows == room:
                    self._shards.add(recorder.finish())
                    recorder.start(self._shards.number)
                    room = self._shards.room
            if recorder.rows:
                self._shards.add(recorder.finish())
            sha256 = raw.finish()
            return InputFile(url=source.url, size=raw.size, sha256=sha256)

    def _check_header(self, items: Iterator[Any], url: str) -> None:
        first = next(items, None) if self._kind.has_header else None
        if first is None:  # no header, or nothing at all
            return
        header = column_names(first)
        if self._header is not None and header != self._header:
            msg = f"input: the columns of {url!r} are {header}, and those of the first file {self._header}"
            raise InvalidJob(msg, field="input")
        self._header = header


class _SegmentRecorder:
    """Counts and hashes a segment's lines and, if given a folder, copies them there; `copies` holds the open copy."""

    def __init__(self, lines: Lines, file: int, folder: Folder | None, copies: ExitStack) -> None:
        self.rows = 0
        self._lines = lines
        self._file = file
        self._folder = folder
        self._copies = copies
        lines.copy = self._record

    def start(self, shard: int) -> None:
        """Start a segment of a shard where the lines stand."""
        self.rows = 0
        self._start = self._lines.position
        self._digest = hashlib.sha256()
        self._staged = f"{STAGED}/{shard:06d}-{self._file:05d}.zst" if self._folder else ""
        self._copy: Any = None

    def finish(self) -> Segment:
        """Commit the copy; the segment up to where the lines stand."""
        self._copies.close()
        return Segment(
            file=self._file,
            start=self._start,
            end=self._lines.position,
            rows=self.rows,
            staged=self._staged,
            sha256=self._digest.hexdigest(),
        )

    def _record(self, line: bytes) -> None:
        self._digest.update(line)
        if self._folder:
            if self._copy is None:
                path = self._copies.enter_context(self._folder.create(self._staged))
                self._copy = self._copies.enter_context(pa.CompressedOutputStream(str(path), "zstd"))
            self._copy.write(line)


def _read_text(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Block]:
    columns = plan.chosen
    first, room = shard.first_row, plan.block_rows
    piece: list[Any] = []
    characters = 0
    for record in _read_records(plan, shard, folder):
        piece.append(record)
        if isinstance(record, dict) and isinstance(text := record.get(columns.text), str):
            characters += len(text)
        if len(piece) == room or characters >= PIECE_CHARS:
            yield make_block(first, piece, columns)
            first += len(piece)
            room = (room - len(piece)) or plan.block_rows
            piece, characters = [], 0
    if piece:
        yield make_block(first, piece, columns)


def _read_records(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Any]:
    kind = text_format(plan.format, plan.spec, plan.header)
    for segment in shard.segments:
        with _open_segment(segment, plan, folder) as stream:
            lines = Lines(stream, at_start=segment.start == 0)
            digest = hashlib.sha256()
            lines.copy = digest.update
            for item in kind.items(lines):
                yield kind.values(item)
            if digest.hexdigest() != segment.sha256:
                raise plan.changed(segment)


def _open_segment(segment: Segment, plan: Plan, folder: Folder) -> IO[bytes]:
    """A stream of exactly a text segment's bytes."""
    if segment.staged:
        return decompressed(HashingStream(folder.open(segment.staged)), "zstd", folder.path(segment.staged))
    url = plan.files[segment.file].url
    file = open_source(url)
    file.seek(segment.start)
    return decompressed(HashingStream(file, limit=segment.end - segment.start), "", url)
