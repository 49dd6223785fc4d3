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
    units: list[int | None] = [0]
    waiting = [(root, 0)]
    for node, place in waiting:  # grows while it is read: breadth first
        slots = sorted(node) if node.value is None else [0, *sorted(node)]
        base = _free_base(units, slots)
        units[place] = (units[place] or 0) | (place ^ base) << 10
        if node.value is not None:
            units[place] = (units[place] or 0) | HAS_VALUE
            units[base] = node.value | IS_VALUE
        for byte, child in node.items():
            units[base ^ byte] = byte
            waiting.append((child, base ^ byte))
    return [unit or 0 for unit in units]


def _free_base(units: list[int | None], slots: list[int]) -> int:
    """The first base at which all the slots are free; the array grows by whole blocks, since XOR stays within one."""
    base = max(1, (len(units) // BLOCK - 4) * BLOCK)  # older blocks are nearly full
    while True:
        while len(units) < (base // BLOCK + 1) * BLOCK:
            units.append(None)
        if all(units[base ^ slot] is None for slot in slots):
            return base
        base += 1
