"""A shard's rows: its segments opened one after another, read in pieces that bound what is in memory."""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING, Any

from munjang.errors import InvalidJob
from munjang_worker.reading.block import make_block
from munjang_worker.reading.lines import Lines
from munjang_worker.reading.parquet import block_of, footer_digest, read_rows
from munjang_worker.reading.streams import HashingStream, decompressed, open_source
from munjang_worker.reading.text import text_format

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from munjang_worker.plan import Plan, Segment, Shard
    from munjang_worker.reading.block import Block
    from munjang_worker.storage import Folder

PIECE_CHARS = 4 << 20
"""A piece ends once its texts have so many characters, however few rows that are."""


def read_pieces(plan: Plan, shard: Shard, folder: Folder) -> Generator[Block]:
    """The rows of a shard in pieces. Each block of `plan.block_rows` is one piece, or several where texts are long.

    Raises:
        InvalidJob: the input is not what was planned.
        OSError: the input cannot be read.
    """
    pieces = _parquet_pieces if plan.format == "parquet" else _text_pieces
    yield from pieces(plan, shard, folder)


def _text_pieces(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Block]:
    columns = plan.chosen
    first, room = shard.first_row, plan.block_rows
    piece: list[Any] = []
    characters = 0
    for record in _records(plan, shard, folder):
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


def _parquet_pieces(plan: Plan, shard: Shard, folder: Folder) -> Iterator[Block]:
    columns = plan.chosen
    first, room = shard.first_row, plan.block_rows
    for segment in shard.segments:
        url = plan.files[segment.file].url
        with folder.open(segment.staged) if segment.staged else open_source(url) as file:
            if not segment.staged and footer_digest(file, url) != segment.sha256:
                raise _changed(url)
            for table in read_rows(file, url, columns, range(segment.start, segment.end), PIECE_CHARS):
                start = 0
                while start < len(table):
                    piece = table.slice(start, room)
                    yield block_of(first, piece, columns)
                    first, start = first + len(piece), start + len(piece)
                    room = (room - len(piece)) or plan.block_rows


def _open(segment: Segment, plan: Plan, folder: Folder) -> IO[bytes]:
    """What a segment of a text file is read from: exactly its bytes."""
    if segment.staged:
        return decompressed(HashingStream(folder.open(segment.staged)), "zstd")
    file = open_source(plan.files[segment.file].url)
    file.seek(segment.start)
    return decompressed(HashingStream(file, limit=segment.end - segment.start), "")


def _changed(url: str) -> InvalidJob:
    return InvalidJob(f"input: {url!r} has changed since the job was planned", field="input")
