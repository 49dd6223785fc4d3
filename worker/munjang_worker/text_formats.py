"""The text formats: bytes into lines, lines into rows, rows into named values.

The planner, which counts rows and remembers where they begin, and the reader both go through `TextFormat.items`, so
they agree on what a row is: a line that is not blank (JSONL), a line (TXT), a record that is not empty (CSV, TSV).
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from munjang_worker.block import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from munjang.bulk.job import JobSpec

LINE_BYTES = 16 << 20
"""The longest line that is read; what is beyond is skipped, and the row is an error."""

Record = list[str] | Problem


class Lines:
    """The lines of a binary stream, with their ends. A byte-order mark at the stream's very beginning is left out.

    Attributes:
        position: how many bytes of the stream the lines taken so far are.
        copy: is called with every line that is taken.
    """

    def __init__(self, stream: IO[bytes], *, at_start: bool = True) -> None:
        self._stream = stream
        self._at_start = at_start
        self._ahead: deque[tuple[bytes, int]] = deque()
        self.position = 0
        self.copy: Callable[[bytes], Any] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Take each line once."""
        while (line := self.look(0)) is not None:
            self.take(1)
            yield line

    def look(self, places: int) -> bytes | None:
        """The line so many places after the next one, which stays where it is; None if there is none."""
        while len(self._ahead) <= places:
            line, size = self._read()
            if not size:
                return None
            self._ahead.append((line, size))
        return self._ahead[places][0]

    def take(self, count: int) -> None:
        """Take so many of the lines that were looked at."""
        for _ in range(count):
            line, size = self._ahead.popleft()
            self.position += size
            if self.copy:
                self.copy(line)

    def _read(self) -> tuple[bytes, int]:
        """The next line, cut where it is too long, and how many bytes of the stream it is; 0 at the end."""
        line = self._stream.readline(LINE_BYTES)
        size = len(line)
        if size == LINE_BYTES and not line.endswith(b"\n"):
            line = line[:-1] + b"\n"
            size += self._skip()
        if self._at_start:
            line = line.removeprefix(codecs.BOM_UTF8)
            self._at_start = False
        return line, size

    def _skip(self) -> int:
        """Skip what is left of a line; how many bytes that were."""
        skipped = 0
        while rest := self._stream.readline(LINE_BYTES):
            skipped += len(rest)
            if rest.endswith(b"\n"):
                break
        return skipped


class TextFormat(Protocol):
    """One text format of one job."""

    has_header: bool
    """Whether the first item names the columns."""

    def items(self, lines: Lines) -> Iterator[Any]:
        """The rows as they stand in the file; `lines.position` is where the last one ends."""

    def values(self, item: Any) -> Mapping[str, object] | Problem:
        """A row's values by column."""


def text_format(kind: str, spec: JobSpec, header: Sequence[str] = ()) -> TextFormat:
    """The format of a job's files, "jsonl", "txt", "csv" or "tsv"; with the header of CSV and TSV where it is known."""
    if kind == "jsonl":
        return _Jsonl(spec.encoding)
    if kind == "txt":
        return _Txt(spec.encoding, spec.text_column)
    quotes = spec.quoting == "csv" or (spec.quoting == "auto" and kind == "csv")
    return Delimited(spec.encoding, "," if kind == "csv" else "\t", quotes=quotes, header=header)


class _Jsonl:
    """One JSON object per line."""

    has_header = False

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def items(self, lines: Lines) -> Iterator[bytes]:
        return (line for line in lines if line.strip())

    def values(self, item: bytes) -> Mapping[str, object] | Problem:
        try:
            value = json.loads(item.decode(self._encoding, "surrogateescape"))
        except (ValueError, RecursionError) as error:
            return Problem("MALFORMED_ROW", f"the line is not valid JSON: {error}")
        if not isinstance(value, dict):
            return Problem("MALFORMED_ROW", f"the line holds {type(value).__name__}, not an object")
        return value


class _Txt:
    """One text per line; every line is a row, also an empty one."""

    has_header = False

    def __init__(self, encoding: str, text_column: str) -> None:
        self._encoding = encoding
        self._name = text_column

    def items(self, lines: Lines) -> Iterator[bytes]:
        return iter(lines)

    def values(self, item: bytes) -> Mapping[str, object] | Problem:
        return {self._name: item.removesuffix(b"\n").removesuffix(b"\r").decode(self._encoding, "surrogateescape")}


@dataclass(frozen=True)
class Delimited:
    """CSV and TSV: with quotes, records as in RFC 4180, which may span lines; without quotes, a line is a row.

    A misplaced quote must cost its own row and no other. So a record over several lines is only accepted if it is
    strictly valid and has as many fields as the header; otherwise its first line is a problem, and reading goes on with
    the second.

    Attributes:
        encoding: of the file.
        delimiter: between fields.
        quotes: whether a field may be quoted.
        header: the columns; none if they are not known yet, and the first record is to be the header.
    """

    has_header = True

    encoding: str
    delimiter: str
    quotes: bool
    header: Sequence[str] = ()

    def items(self, lines: Lines) -> Iterator[Record]:
        """Records that are not empty lines."""
        fields = len(self.header)
        while (line := lines.look(0)) is not None:
            record, count = self._record(line, lines, fields)
            lines.take(count)
            if record:
                fields = fields or (len(record) if isinstance(record, list) else 0)
                yield record

    def values(self, item: Record) -> Mapping[str, object] | Problem:
        """The fields by column; a record of another number of fields is a problem."""
        if isinstance(item, Problem):
            return item
        if len(item) != len(self.header):
            return Problem("MALFORMED_ROW", f"the row has {len(item)} fields, and the header has {len(self.header)}")
        return dict(zip(self.header, item, strict=True))

    def _record(self, line: bytes, lines: Lines, fields: int) -> tuple[Record, int]:
        """The record that begins with the next line, and how many lines it takes; an empty line has no fields."""
        if self.quotes and b'"' in line:
            return self._quoted(lines, fields)
        text = self._text(line).removesuffix("\n").removesuffix("\r")
        if self.quotes and "\r" in text:
            return Problem("MALFORMED_ROW", "the row has a carriage return outside of quotes"), 1
        return text.split(self.delimiter) if text else [], 1

    def _quoted(self, lines: Lines, fields: int) -> tuple[Record, int]:
        csv.field_size_limit(LINE_BYTES)
        count = 0

        def feed() -> Iterator[str]:
            nonlocal count
            size = 0
            while size <= LINE_BYTES and (line := lines.look(count)) is not None:
                count += 1
                size += len(line)
                yield self._text(line)

        try:
            record = next(csv.reader(feed(), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return Problem("MALFORMED_ROW", f"a quote is out of place, or not closed: {error}"), 1
        if count > 1 and fields and len(record) != fields:
            msg = f"a quote is out of place: with {count} lines the row has {len(record)} fields, the header {fields}"
            return Problem("MALFORMED_ROW", msg), 1
        return record, count

    def _text(self, line: bytes) -> str:
        return line.decode(self.encoding, "surrogateescape")


def columns_of(record: Record) -> list[str]:
    """The columns that a header names; none if it is not valid."""
    return [] if isinstance(record, Problem) else [name.strip() for name in record]
