"""The text formats: bytes into lines, lines into rows, rows into named values.

The planner, which counts rows and remembers where they begin, and the reader both go through `TextFormat.items`, so
they agree on what a row is: a line that is not blank (JSONL), a line (TXT), a record that is not empty (CSV, TSV).
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from munjang.delimited import Malformed, read_records
from munjang_worker.block import Problem
from munjang_worker.sources import stream_encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from munjang.bulk.job import JobSpec

LINE_BYTES = 16 << 20
"""The longest line that is read; what is beyond is skipped, and the row is an error."""


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
    encoding = stream_encoding(spec.encoding)
    if kind == "jsonl":
        return _Jsonl(encoding)
    if kind == "txt":
        return _Txt(encoding, spec.text_column)
    quotes = spec.quoting == "csv" or (spec.quoting == "auto" and kind == "csv")
    return Delimited(encoding, "," if kind == "csv" else "\t", quotes=quotes, header=header)


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
    """CSV and TSV, by the rules of `munjang.delimited`.

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

    def items(self, lines: Lines) -> Iterator[list[str] | Malformed]:
        """Records that are not empty lines."""
        text = _DecodedLines(lines, self.encoding)
        return read_records(text, self.delimiter, quotes=self.quotes, fields=len(self.header))

    def values(self, item: list[str] | Malformed) -> Mapping[str, object] | Problem:
        """The fields by column; a record of another number of fields is a problem."""
        if isinstance(item, Malformed):
            return Problem("MALFORMED_ROW", item.message)
        if len(item) != len(self.header):
            return Problem("MALFORMED_ROW", f"the row has {len(item)} fields, and the header has {len(self.header)}")
        return dict(zip(self.header, item, strict=True))


@dataclass(frozen=True)
class _DecodedLines:
    """`Lines` as text; bytes that are not valid become unpaired surrogates."""

    lines: Lines
    encoding: str

    def look(self, places: int) -> str | None:
        line = self.lines.look(places)
        return None if line is None else line.decode(self.encoding, "surrogateescape")

    def take(self, count: int) -> None:
        self.lines.take(count)
