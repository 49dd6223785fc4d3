"""One pass over the input: cut its rows into shards, and take size and sha256 of each file on the way.

A plain text file is cut at bytes, a Parquet file at rows. A compressed file cannot be entered in the middle, so the
pass leaves each shard's part of it in the output folder, compressed again; the rows are then read once more and not
once for every shard.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from munjang.errors import InvalidJob
from munjang_worker.plan import InputFile, Segment, Shard
from munjang_worker.reading.block import Columns
from munjang_worker.reading.delimited import columns_of
from munjang_worker.reading.lines import Lines
from munjang_worker.reading.parquet import describe, footer_digest
from munjang_worker.reading.staging import STAGED, Stage
from munjang_worker.reading.streams import HashingStream, decompressed, open_source
from munjang_worker.storage import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from munjang.bulk.job import JobSpec
    from munjang_worker.reading.sources import Source
    from munjang_worker.reading.text import TextFormat
    from munjang_worker.storage import Folder


class Cutter:
    """Shards of exactly `shard_rows` rows, made of segments in their order; the last may have fewer, also none."""

    def __init__(self, shard_rows: int) -> None:
        self._shard_rows = shard_rows
        self._shards: list[Shard] = []
        self._segments: list[Segment] = []
        self.rows = 0

    @property
    def room(self) -> int:
        """How many rows the shard in hand still takes."""
        return self._shard_rows - self.rows % self._shard_rows

    @property
    def number(self) -> int:
        """The number of the shard in hand."""
        return len(self._shards)

    def add(self, segment: Segment) -> None:
        """Put a segment into the shard in hand, which must have room for it."""
        self._segments.append(segment)
        self.rows += segment.rows
        if self.rows % self._shard_rows == 0:
            self._close()

    def finish(self) -> tuple[Shard, ...]:
        """All shards, at least one."""
        if self._segments or not self._shards:
            self._close()
        return tuple(self._shards)

    def _close(self) -> None:
        rows = sum(segment.rows for segment in self._segments)
        self._shards.append(Shard(first_row=self.rows - rows, rows=rows, segments=tuple(self._segments)))
        self._segments = []


class TextCutter:
    """Cuts one text file after another into the shards of a `Cutter`."""

    def __init__(self, kind: TextFormat, cutter: Cutter, folder: Folder, poll: Callable[[], None]) -> None:
        self._kind = kind
        self._cutter = cutter
        self._folder = folder
        self._poll = poll
        self._header: list[str] | None = None

    def cut(self, source: Source, file: int) -> InputFile:
        """Cut one file, the plan's number `file`.

        Raises:
            InvalidJob: it cannot be read, or has other columns than the first.
        """
        with open_source(source.url) as opened, Stage(self._folder) as stage:
            raw = HashingStream(opened, self._poll)
            lines = Lines(decompressed(raw, source.compression))
            items = self._kind.items(lines)
            self._check_header(items, source.url)
            self._cut_items(items, lines, stage if source.compression else None, file)
            sha256 = raw.finish()
            return InputFile(url=source.url, size=raw.size, sha256=sha256)

    def _cut_items(self, items: Iterator[Any], lines: Lines, stage: Stage | None, file: int) -> None:
        part = _Part(lines, stage, file, self._cutter.number)
        room = self._cutter.room
        for _ in items:
            part.rows += 1
            if part.rows == room:
                self._cutter.add(part.finish())
                part = _Part(lines, stage, file, self._cutter.number)
                room = self._cutter.room
        if part.rows:
            self._cutter.add(part.finish())

    def _check_header(self, items: Iterator[Any], url: str) -> None:
        first = next(items, None) if self._kind.has_header else None
        if first is None:  # no header, or nothing at all
            return
        header = columns_of(first)
        if self._header is not None and header != self._header:
            msg = f"input: the columns of {url!r} are {header}, and those of the first file {self._header}"
            raise InvalidJob(msg, field="input")
        self._header = header


class _Part:
    """The lines between two cuts: counted, hashed and, where there is a stage, copied."""

    def __init__(self, lines: Lines, stage: Stage | None, file: int, shard: int) -> None:
        self.rows = 0
        self._lines = lines
        self._stage = stage
        self._file = file
        self._start = lines.position
        self._digest = hashlib.sha256()
        if stage:
            stage.name = f"{STAGED}/{shard:06d}-{file:05d}.zst"
        lines.copy = self._take

    def finish(self) -> Segment:
        staged = self._stage.finish() if self._stage else ""
        return Segment(
            file=self._file,
            start=self._start,
            end=self._lines.position,
            rows=self.rows,
            staged=staged,
            sha256=self._digest.hexdigest(),
        )

    def _take(self, line: bytes) -> None:
        self._digest.update(line)
        if self._stage:
            self._stage.write(line)


class ParquetCutter:
    """Cuts one Parquet file after another into the shards of a `Cutter`.

    Attributes:
        columns: those of the first file; the others must have the same.
    """

    def __init__(self, spec: JobSpec, cutter: Cutter, folder: Folder, poll: Callable[[], None]) -> None:
        self._spec = spec
        self._cutter = cutter
        self._folder = folder
        self._poll = poll
        self.columns = Columns("", "", pa.schema([]))

    def cut(self, source: Source, file: int) -> InputFile:
        """Cut one file, the plan's number `file`.

        Raises:
            InvalidJob: it cannot be read, or has other columns than the first.
        """
        staged = f"{STAGED}/{file:05d}.parquet" if source.compression else ""
        if not staged:
            rows, footer = self._describe(source, "")
        with open_source(source.url) as opened:
            raw = HashingStream(opened, self._poll)
            plain = decompressed(raw, source.compression)
            if staged:
                with self._folder.create(staged) as path, path.open("wb") as target:
                    shutil.copyfileobj(plain, target, CHUNK)
            sha256 = raw.finish()
        if staged:
            rows, footer = self._describe(source, staged)
        start = 0
        while start < rows:
            end = min(rows, start + self._cutter.room)
            segment = Segment(file=file, start=start, end=end, rows=end - start, staged=staged, sha256=footer)
            self._cutter.add(segment)
            start = end
        return InputFile(url=source.url, size=raw.size, sha256=sha256)

    def _describe(self, source: Source, staged: str) -> tuple[int, str]:
        """How many rows a file has, and the sha256 of its footer."""
        with self._folder.open(staged) if staged else open_source(source.url) as opened:
            footer = footer_digest(opened, source.url)
            columns, rows = describe(opened, self._spec, source.url)
        if self.columns.text and columns != self.columns:
            msg = f"input: the columns of {source.url!r} are not those of the first file, or of other types"
            raise InvalidJob(msg, field="input")
        self.columns = columns
        return rows, footer
