"""CSV and TSV: records of fields, by the same rules for worker and trainer. Callers decide what a record means.

A misplaced quote must make only its own record bad. So a record over several lines is accepted only if it is strictly
valid and has as many fields as the first record. Otherwise its first line is malformed, and reading continues with the
second.
"""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORD_CHARACTERS = 16 << 20
"""The longest record that may go over several lines; a quote that is not closed within so many lines is malformed."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a line is not a record."""

    message: str


class Lines(Protocol):
    """Lines with their ends, which can be read ahead before they are consumed."""

    def look(self, places: int) -> str | None:
        """The line `places` after the next one, without consuming it; None if there is none."""

    def take(self, count: int) -> None:
        """Consume `count` of the lines that were read ahead."""


class BufferedLines:
    """Lines out of any iterable of lines that end in line feeds only, such as a text file that translates none."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._ahead: deque[str] = deque()

    def look(self, places: int) -> str | None:
        """The line `places` after the next one; None at the end."""
        while len(self._ahead) <= places:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[places]

    def take(self, count: int) -> None:
        """Drop `count` of the lines that were read ahead."""
        for _ in range(count):
            self._ahead.popleft()


def read_records(lines: Lines, delimiter: str, *, quotes: bool, fields: int = 0) -> Iterator[list[str] | Malformed]:
    """The records that are not empty lines.

    Args:
        lines: what to read; when a record is yielded, its lines are consumed.
        delimiter: between fields.
        quotes: whether fields may be quoted as in RFC 4180, also across line ends; if not, each line is a record.
        fields: how many a record over several lines must have; 0: as many as the first record.
    """
    while (line := lines.look(0)) is not None:
        if quotes and '"' in line:
            record, count = _quoted(lines, delimiter, fields)
        else:
            record, count = _plain(line, delimiter, quotes=quotes), 1
        lines.take(count)
        if record:
            fields = fields or (len(record) if isinstance(record, list) else 0)
            yield record


def column_names(record: list[str] | Malformed) -> list[str]:
    """The columns that a header names, without white space around them; none if it is malformed."""
    return [] if isinstance(record, Malformed) else [name.strip() for name in record]


def _plain(line: str, delimiter: str, *, quotes: bool) -> list[str] | Malformed:
    text = line.removesuffix("\n").removesuffix("\r")
    if quotes and "\r" in text:
        return Malformed("the row has a carriage return outside of quotes")
    return text.split(delimiter) if text else []


def _quoted(lines: Lines, delimiter: str, fields: int) -> tuple[list[str] | Malformed, int]:
    """The record that begins with the next line, and how many lines it takes."""
    csv.field_size_limit(RECORD_CHARACTERS)
    count = 0

    def feed() -> Iterator[str]:
        nonlocal count
        size = 0
        while size <= RECORD_CHARACTERS and (line := lines.look(count)) is not None:
            count += 1
            size += len(line)
            yield line

    try:
        record = next(csv.reader(feed(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return Malformed(f"a quote is out of place, or not closed: {error}"), 1
    if count > 1 and fields and len(record) != fields:
        msg = f"a quote is out of place: with {count} lines the row has {len(record)} fields, the header {fields}"
        return Malformed(msg), 1
    return record, count
