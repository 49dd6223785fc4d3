"""Normalises texts to Unicode's form C (NFC) in linear time, whatever the text.

`unicodedata.normalize` sorts combining marks by insertion, which takes time quadratic in their number, and holds the
GIL until a text is done. Here it gets short pieces whose marks are already in order.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_CHARS = 4096
"""A text is composed in pieces of about so many characters; other threads run between two pieces."""

LONG_RUN = 32
"""Runs of at least so many marks are always put in order here; insertion is fast enough for shorter ones."""

_JOINING = "".join(mark for mark in map(chr, range(0x300, 0x20000)) if unicodedata.category(mark)[0] == "M")
"""All characters but jamo that can join what stands before them, by order or by composition; no others are above."""

_MARKS = frozenset(mark for mark in _JOINING if unicodedata.combining(unicodedata.normalize("NFD", mark)[0]))
"""Those that are ordered among themselves: their decompositions begin with a canonical combining class."""

_PIECE = re.compile(f"(?s:.{{1,{PIECE_CHARS}}})[\u1161-\u1175]?[\u11a8-\u11c2]?[{_JOINING}]*")
"""What follows a piece joins none of it: a medial jamo joins an initial one alone, a final jamo those two."""


def nfc(text: str) -> str:
    """The text in NFC, exactly as `unicodedata.normalize` gives it."""
    if text.isascii():
        return text
    return "".join([unicodedata.normalize("NFC", _in_order(piece[0])) for piece in _PIECE.finditer(text)])


def _in_order(text: str) -> str:
    """The text with its marks decomposed and in canonical order, where it has long runs of them."""
    if _MARKS.isdisjoint(text[::LONG_RUN]):  # a long run would have a mark there
        return text
    return "".join([_ordered(run) if marks else "".join(run) for marks, run in groupby(text, _MARKS.__contains__)])


def _ordered(run: Iterator[str]) -> str:
    """Marks by their combining class, those of one class as they stood."""
    by_class: dict[int, list[str]] = {}
    for character in run:
        for mark in unicodedata.normalize("NFD", character):
            by_class.setdefault(unicodedata.combining(mark), []).append(mark)
    return "".join(["".join(by_class[number]) for number in sorted(by_class)])
