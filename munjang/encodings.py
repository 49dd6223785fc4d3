"""The encodings of Korean text files and file names: which one a file looks like, and whether another fits."""

from __future__ import annotations

import codecs
import os
import unicodedata
from contextlib import suppress
from pathlib import Path

SAMPLE_BYTES = 1 << 16
"""How much of a file's start is looked at."""

MIN_SHARE = 0.5
"""The share of the lines beyond ASCII that must be valid, and of their characters that must be Hangul."""

MIN_KNOWN = 0.75
"""The share of ASCII and Hangul in what is taken for UTF-16."""

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

_LINE_WISE = ("utf-8", "ascii", "cp949", "euc_kr", "johab", "latin", "iso8859", "cp125", "cp437", "cp850")


def likely_encoding(start: bytes) -> str:
    """The encoding that the start of a file looks like.

    Args:
        start: the first bytes of the file, some thousands if it has so many.

    Returns:
        "utf-8", "cp949", "utf-16" where a mark says so, "utf-16-le" or "utf-16-be"; "" if it looks like none of them.
    """
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return name
    for name in ("utf-16-le", "utf-16-be"):
        if b"\0" in start and _is_utf16(start, name):
            return name
    for name in ("utf-8", "cp949"):
        count, texts = _decoded_lines(start, name)
        if len(texts) >= MIN_SHARE * count and (name == "utf-8" or _hangul_share("".join(texts)) >= MIN_SHARE):
            return name
    for name in ("utf-16-le", "utf-16-be"):
        if _hangul_share(start[: len(start) // 2 * 2].decode(name, "replace")) >= MIN_SHARE:
            return name
    return ""


def better_encoding(start: bytes, encoding: str) -> str:
    """The encoding that the start of a file looks like where most of it does not fit the named one; else ""."""
    named = codecs.lookup(encoding).name.removesuffix("-sig")
    likely = likely_encoding(start)
    if not likely or likely == named or named.startswith("utf-32"):
        return ""
    if named.startswith("utf-16"):
        order = "utf-16-le" if named == "utf-16" else named
        if likely == "utf-16":
            wrong = codecs.BOM_UTF16_LE if named == "utf-16-be" else codecs.BOM_UTF16_BE
            return likely if named != "utf-16" and start.startswith(wrong) else ""
        return "" if likely == order or (likely == "cp949" and _is_utf16(start, order)) else likely
    if likely.startswith("utf-16"):
        return likely
    count, texts = _decoded_lines(start, named)
    return "" if len(texts) >= MIN_SHARE * count else likely


def is_line_wise(encoding: str) -> bool:
    """Whether a line end is one byte, and each line can be decoded without those before it."""
    return codecs.lookup(encoding).name.startswith(_LINE_WISE)


def stored_path(path: str) -> str:
    """A local path, or the one on the disk whose names differ only in their Unicode normal form (macOS has NFD)."""
    if os.path.lexists(path):
        return path
    stored = Path(Path(path).anchor)
    for part in Path(path).relative_to(stored).parts:
        name = part
        if not os.path.lexists(stored / part):
            with suppress(OSError):
                same = [found.name for found in stored.iterdir() if composed(found.name) == composed(part)]
                name = min(same, default=part)
        stored /= name
    return str(stored)


def composed(name: str) -> str:
    """A name in the normal form NFC, for comparing."""
    return unicodedata.normalize("NFC", name)


def printable(path: str) -> str:
    r"""A path that can be written anywhere: bytes of its names that are not UTF-8 as \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_utf16(start: bytes, name: str) -> bool:
    """Whether bytes are lines of ASCII and Hangul in UTF-16; bytes of the other order, or of UTF-8, are neither."""
    text = start[: len(start) // 2 * 2].decode(name, "replace")
    known = sum(character.isascii() or _is_hangul(character) for character in text)
    return known >= MIN_KNOWN * len(text) and ("\n" in text or b"\n" not in start)


def _decoded_lines(start: bytes, encoding: str) -> tuple[int, list[str]]:
    """How many lines go beyond ASCII, and those of them that are valid; the last may be cut within a character."""
    lines = start.split(b"\n")
    found: list[str] = []
    for line in lines:
        with suppress(UnicodeDecodeError):
            found.append(codecs.getincrementaldecoder(encoding)().decode(line, final=line is not lines[-1]))
    return sum(not line.isascii() for line in lines), [text for text in found if not text.isascii()]


def _hangul_share(text: str) -> float:
    """The share of Hangul among the characters beyond ASCII."""
    beyond = [character for character in text if not character.isascii()]
    return sum(map(_is_hangul, beyond)) / max(1, len(beyond))


def _is_hangul(character: str) -> bool:
    return "HANGUL" in unicodedata.name(character, "")
