"""A map from code points to replacements in the form that the `Precompiled` normalizer of tokenizers reads.

The form is sentencepiece's: the length of a double-array trie in bytes, the trie, and the replacements, each ended by a
zero byte. The trie is a darts-clone array of 32-bit units. The children of a node lie at its base XOR the next byte of
the key, and the value of a key that ends there at the base itself.
Source: github.com/s-yata/darts-clone (the units), github.com/google/sentencepiece (the file).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
