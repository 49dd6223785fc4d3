"""The text formats: lines into rows, rows into named values.

`items` is what both the planner, which counts rows and remembers where they begin, and the reader go through, so that
they agree on what a row is: a line that is not blank (JSONL), a line (TXT), a record that is not empty (CSV, TSV).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from munjang_worker.reading.block import Problem
from munjang_worker.reading.delimited import Delimited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from munjang.bulk.job import JobSpec
    from munjang_worker.reading.lines import Lines


class TextFormat(Protocol):
    """One text format of one job."""

    has_header: bool
    """Whether the first item names the columns."""

    def items(self, lines: Lines) -> Iterator[Any]:
        """The rows as they stand in the file; `lines.position` is where the last one ends."""

    def values(self, item: Any) -> Mapping[str, object] | Problem:
        """A row's values by column."""


class Jsonl:
    """One JSON object a line."""

    has_header = False

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def items(self, lines: Lines) -> Iterator[bytes]:
        """Lines that are not blank."""
        return (line for line in lines if line.strip())

    def values(self, item: bytes) -> Mapping[str, object] | Problem:
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

    def values(self, item: bytes) -> Mapping[str, object] | Problem:
        """The line without its end."""
        return {self._name: item.removesuffix(b"\n").removesuffix(b"\r").decode(self._encoding, "surrogateescape")}


def text_format(kind: str, spec: JobSpec, header: Sequence[str] = ()) -> TextFormat:
    """The format of a job's files, "jsonl", "txt", "csv" or "tsv"; with the header of CSV and TSV where it is known."""
    if kind == "jsonl":
        return Jsonl(spec.encoding)
    if kind == "txt":
        return Txt(spec.encoding, spec.text_column)
    quotes = spec.quoting == "csv" or (spec.quoting == "auto" and kind == "csv")
    return Delimited(spec.encoding, "," if kind == "csv" else "\t", quotes=quotes, header=header)
