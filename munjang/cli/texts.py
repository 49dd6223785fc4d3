"""Which texts a command uses: its arguments, or the lines of a file or of standard input."""

from __future__ import annotations

import codecs
import io
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from munjang.cli import console
from munjang.encodings import SAMPLE_BYTES, better_encoding, is_line_wise, printable, stored_path
from munjang.errors import ConfigurationError, EmptyText, InvalidRequest, InvalidText, MunjangError, NoTexts

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Texts:
    """Texts, and what to call the one at an index: `line 3 of corpus.txt`, `text 3`."""

    items: list[str]
    source: str

    def name(self, index: int) -> str:
        """The place of a text as a person counts."""
        return f"line {index + 1} of {self.source}" if self.source else f"text {index + 1}"

    @contextmanager
    def named_errors(self, *fields: str, start: int = 0) -> Iterator[None]:
        """Put the place before an error that is about one of these texts; of a call whose texts began at `start`.

        Args:
            fields: of the request in which these texts were; any if none is given.
            start: the index of the call's first text.
        """
        try:
            yield
        except MunjangError as error:
            if error.index is None or error.field not in (fields or {"texts", "queries", "documents"}):
                raise
            msg = f"{self.name(start + error.index)}: {error}"
            raise InvalidRequest(msg, field=error.field, index=start + error.index) from error


def read_texts(arguments: list[str] | None, file: str, encoding: str = "utf-8", *, option: str = "--file") -> Texts:
    """The texts of a command; `option` is the one that names the file.

    Raises:
        BadParameter: neither or both of texts and file were given, or the file's encoding is not known.
        ConfigurationError: the file cannot be read.
        NoTexts, EmptyText, InvalidText: the file is empty, or has a line that is not a text; the error names the line.
    """
    if bool(arguments) == bool(file):
        msg = f"give texts or {option}, not both" if file else f"give texts, or {option} FILE (- is standard input)"
        raise typer.BadParameter(msg)
    if arguments:
        return Texts(_checked_all(arguments), "")
    name = "standard input" if file == "-" else printable(file)
    try:
        "".encode(encoding)
    except LookupError as error:
        msg = f"{encoding!r} is not an encoding of texts: write one such as utf-8, cp949 or utf-16"
        raise typer.BadParameter(msg) from error
    items = _lines(console.read_stdin() if file == "-" else _bytes(file), name, encoding)
    return Texts(items, name)


def _bytes(file: str) -> bytes:
    try:
        return Path(stored_path(file)).read_bytes()
    except OSError as error:
        msg = f"{printable(file)} cannot be read: {error.strerror}"
        raise ConfigurationError(msg, field="file") from error


def _lines(data: bytes, name: str, encoding: str) -> list[str]:
    likely = better_encoding(data[:SAMPLE_BYTES], encoding)
    if likely:
        msg = f"{name} does not look like {encoding}; it looks like {likely}: add --encoding {likely}"
        raise InvalidText(msg, field="texts")
    if not is_line_wise(encoding):
        try:
            data, encoding = data.decode(encoding).encode(), "utf-8"
        except UnicodeError as error:
            msg = f"{name} is not {encoding}: {error}"
            raise InvalidText(msg, field="texts") from error
    lines = []
    for number, raw in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), 1):
        try:
            line = raw.decode(encoding).rstrip("\r\n")
        except UnicodeDecodeError as error:
            msg = f"line {number} of {name} is not {encoding.upper()}: byte {error.start + 1} of the line"
            raise InvalidText(msg, field="texts", index=number - 1) from error
        if not line.strip():
            msg = f"line {number} of {name} is empty; each line must hold a text"
            raise EmptyText(msg, field="texts", index=number - 1)
        lines.append(line)
    if not lines:
        msg = f"{name} is empty"
        raise NoTexts(msg, field="texts")
    return lines


def _checked_all(arguments: list[str]) -> list[str]:
    for number, text in enumerate(arguments, 1):
        if not text.strip():
            msg = f"text {number} is empty"
            raise EmptyText(msg, field="texts", index=number - 1)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            msg = f"text {number} is not UTF-8"
            raise InvalidText(msg, field="texts", index=number - 1) from error
    return arguments
