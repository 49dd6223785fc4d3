"""The text formats: a stream of bytes into lines of bounded length, lines into records, records into named values.

`items` is what both the planner, which counts rows and remembers where they begin, and the reader go through, so that
they agree on what a row is: a line that is not blank (JSONL), a line (TXT), a record that is not empty (CSV, TSV).
"""

from __future__ import annotations

import codecs
import csv
import json
from typing import IO, TYPE_CHECKING, Any, Protocol

from worker.reading.block import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from munjang.bulk.spec import JobSpec

LINE_BYTES = 16 << 20
"""The longest line that is read; what is beyond is skipped, and the row is an error."""


class Lines:
    """The lines of a binary stream, with their ends. A byte-order mark at the stream's very beginning is left out.

    Attributes:
        position: how many bytes of the stream the lines given so far took.
        copy: is called with every line that is given.
    """

    def __init__(self, stream: IO[bytes], *, at_start: bool = True) -> None:
        self._stream = stream
        self._at_start = at_start
        self.position = 0
        self.copy: Callable[[bytes], Any] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Each line once."""
        while line := self._stream.readline(LINE_BYTES):
            self.position += len(line)
            if not line.endswith(b"\n") and len(line) == LINE_BYTES:
                line = line[:-1] + b"\n"
                self._skip()
            if self._at_start:
                line = line.removeprefix(codecs.BOM_UTF8)
                self._at_start = False
            if self.copy:
                self.copy(line)
            yield line

    def _skip(self) -> None:
        while rest := self._stream.readline(LINE_BYTES):
            self.position += len(rest)
            if rest.endswith(b"\n"):
                return


class TextFormat(Protocol):
    """One text format of one job."""

    has_header: bool
    """Whether the first item names the columns."""

    def items(self, lines: Lines) -> Iterator[Any]:
        """The rows as they stand in the file; `lines.position` is where the last one ends."""

    def header(self, item: Any) -> list[str]:
        """The columns that a header names."""

    def values(self, item: Any, header: list[str]) -> Mapping[str, object] | Problem:
        """A row's values by column."""


class Jsonl:
    """One JSON object a line."""

    has_header = False

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def items(self, lines: Lines) -> Iterator[bytes]:
        """Lines that are not blank."""
        return (line for line in lines if line.strip())

    def header(self, item: Any) -> list[str]:
        """None."""
        raise NotImplementedError

    def values(self, item: bytes, header: list[str]) -> Mapping[str, object] | Problem:  # noqa: ARG002 - has none
        """The object."""
        try:
            value = json.loads(item.decode(self._encoding, "surrogateescape"))
        except (ValueError, RecursionError) as error:
            return Problem("MALFORMED_ROW", f"the line is not valid JSON: {error}")
        if not isinstance(value, dict):
            return Problem("MALFORMED_ROW", f"the line holds {type(value).__name__}, not an object")
        return value


class Txt:
    """One text a line; every line is a row, also an empty one."""

    has_header = False

    def __init__(self, encoding: str, text_column: str) -> None:
        self._encoding = encoding
        self._name = text_column

    def items(self, lines: Lines) -> Iterator[bytes]:
        """All lines."""
        return iter(lines)

    def header(self, item: Any) -> list[str]:
        """None."""
        raise NotImplementedError

    def values(self, item: bytes, header: list[str]) -> Mapping[str, object] | Problem:  # noqa: ARG002 - has none
        """The line without its end."""
        return {self._name: _line(item, self._encoding)}


class Delimited:
    """CSV and TSV with a header. With quotes as RFC 4180 has them, also over line ends; without, a line is a row."""

    has_header = True

    def __init__(self, encoding: str, delimiter: str, *, quotes: bool) -> None:
        self._encoding = encoding
        self._delimiter = delimiter
        self._quotes = quotes

    def items(self, lines: Lines) -> Iterator[list[str] | Problem]:
        """Records that are not empty lines."""
        return self._quoted(lines) if self._quotes else self._plain(lines)

    def header(self, item: list[str] | Problem) -> list[str]:
        """The first record."""
        return [] if isinstance(item, Problem) else [name.strip() for name in item]

    def values(self, item: list[str] | Problem, header: list[str]) -> Mapping[str, object] | Problem:
        """The fields by column; a record of another number of fields is a problem."""
        if isinstance(item, Problem):
            return item
        if len(item) != len(header):
            return Problem("MALFORMED_ROW", f"the row has {len(item)} fields, and the header has {len(header)}")
        return dict(zip(header, item, strict=True))

    def _plain(self, lines: Lines) -> Iterator[list[str]]:
        for line in lines:
            text = _line(line, self._encoding)
            if text:
                yield text.split(self._delimiter)

    def _quoted(self, lines: Lines) -> Iterator[list[str] | Problem]:
        csv.field_size_limit(LINE_BYTES)
        decoded = (line.decode(self._encoding, "surrogateescape") for line in lines)
        reader = csv.reader(decoded, delimiter=self._delimiter)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Problem("MALFORMED_ROW", f"the row is not valid: {error}")
                continue
            if record:
                yield record


def text_format(kind: str, spec: JobSpec) -> TextFormat:
    """The format of a job's files, "jsonl", "txt", "csv" or "tsv"."""
    if kind == "jsonl":
        return Jsonl(spec.encoding)
    if kind == "txt":
        return Txt(spec.encoding, spec.text_column)
    quotes = spec.quoting == "csv" or (spec.quoting == "auto" and kind == "csv")
    return Delimited(spec.encoding, "," if kind == "csv" else "\t", quotes=quotes)


def _line(line: bytes, encoding: str) -> str:
    return line.removesuffix(b"\n").removesuffix(b"\r").decode(encoding, "surrogateescape")
