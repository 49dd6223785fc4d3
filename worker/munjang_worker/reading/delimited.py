"""CSV and TSV: records of fields under a header.

A quote that is out of place must cost its own row and no other. So a record over several lines is only believed where
it is valid to the letter and has as many fields as the header; otherwise its first line is an error, and reading goes
on with the second.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from munjang_worker.reading.block import Problem
from munjang_worker.reading.lines import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from munjang_worker.reading.lines import Lines

Record = list[str] | Problem


class Delimited:
    """CSV and TSV. With quotes as RFC 4180 has them, also over line ends; without, a line is a row."""

    has_header = True

    def __init__(self, encoding: str, delimiter: str, *, quotes: bool, header: Sequence[str] = ()) -> None:
        """Choose how to read.

        Args:
            encoding: of the file.
            delimiter: between fields.
            quotes: whether a field may be quoted.
            header: the columns; none if they are not known yet, and the first record is to be the header.
        """
        self._encoding = encoding
        self._delimiter = delimiter
        self._quotes = quotes
        self._header = header

    def items(self, lines: Lines) -> Iterator[Record]:
        """Records that are not empty lines."""
        fields = len(self._header)
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
        if len(item) != len(self._header):
            return Problem("MALFORMED_ROW", f"the row has {len(item)} fields, and the header has {len(self._header)}")
        return dict(zip(self._header, item, strict=True))

    def _record(self, line: bytes, lines: Lines, fields: int) -> tuple[Record, int]:
        """The record that begins with the next line, and how many lines it takes; an empty line has no fields."""
        if self._quotes and b'"' in line:
            return self._quoted(lines, fields)
        text = self._text(line).removesuffix("\n").removesuffix("\r")
        if self._quotes and "\r" in text:
            return Problem("MALFORMED_ROW", "the row has a carriage return outside of quotes"), 1
        return text.split(self._delimiter) if text else [], 1

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
            record = next(csv.reader(feed(), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return Problem("MALFORMED_ROW", f"a quote is out of place, or not closed: {error}"), 1
        if count > 1 and fields and len(record) != fields:
            msg = f"a quote is out of place: with {count} lines the row has {len(record)} fields, the header {fields}"
            return Problem("MALFORMED_ROW", msg), 1
        return record, count

    def _text(self, line: bytes) -> str:
        return line.decode(self._encoding, "surrogateescape")


def columns_of(record: Record) -> list[str]:
    """The columns that a header names; none if it is not valid."""
    return [] if isinstance(record, Problem) else [name.strip() for name in record]
