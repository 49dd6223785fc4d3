"""A shard's rows as blocks: its segments opened one after another, their rows put together to whole blocks."""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from munjang.errors import InvalidJob
from worker.reading.block import make_block
from worker.reading.lines import Lines
from worker.reading.parquet import block_of, read_rows
from worker.reading.streams import HashingStream, decompressed, open_source
from worker.reading.text import text_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.plan import Plan, Segment, Shard
    from worker.reading.block import Block
    from worker.storage import Folder


def read_blocks(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Block]:
    """The rows of a shard as blocks of `plan.block_rows`, the last one of what is left.

    Raises:
        InvalidJob: the input is not what was planned.
        OSError: the input cannot be read.
    """
    if plan.format == "parquet":
        yield from _parquet_blocks(plan, shard, folder)
        return
    columns = plan.chosen
    records = _records(plan, shard, folder)
    first = shard.first_row
    while found := list(islice(records, plan.block_rows)):
        yield make_block(first, found, columns)
        first += len(found)


def _records(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Any]:
    kind = text_format(plan.format, plan.spec, plan.header)
    for segment in shard.segments:
        with _open(segment, plan, folder) as stream:
            lines = Lines(stream, at_start=segment.start == 0)
            digest = hashlib.sha256()
            lines.copy = digest.update
            for item in kind.items(lines):
                yield kind.values(item)
            if digest.hexdigest() != segment.sha256:
                raise _changed(plan.files[segment.file].url)


def _parquet_blocks(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Block]:
    columns = plan.chosen
    first = shard.first_row
    waiting: list[pa.Table] = []
    for table in _tables(plan, shard, folder):
        waiting.append(table)
        while sum(map(len, waiting)) >= plan.block_rows:
            joined = pa.concat_tables(waiting)
            yield block_of(first, joined.slice(0, plan.block_rows), columns)
            first += plan.block_rows
            waiting = [joined.slice(plan.block_rows)]
    joined = pa.concat_tables(waiting) if waiting else None
    if joined is not None and len(joined):
        yield block_of(first, joined, columns)


def _tables(plan: Plan, shard: Shard, folder: Folder) -> Iterator[pa.Table]:
    for segment in shard.segments:
        url = plan.files[segment.file].url
        with folder.open(segment.staged) if segment.staged else open_source(url) as file:
            if not segment.staged and file.seek(0, os.SEEK_END) != plan.files[segment.file].size:
                raise _changed(url)
            yield from read_rows(file, url, plan.chosen, range(segment.start, segment.end), plan.block_rows)


def _open(segment: Segment, plan: Plan, folder: Folder) -> IO[bytes]:
    """What a segment of a text file is read from: exactly its bytes."""
    if segment.staged:
        return decompressed(HashingStream(folder.open(segment.staged)), "zstd")
    file = open_source(plan.files[segment.file].url)
    file.seek(segment.start)
    return decompressed(HashingStream(file, limit=segment.end - segment.start), "")


def _changed(url: str) -> InvalidJob:
    return InvalidJob(f"input: {url!r} has changed since the job was planned", field="input")
