"""Families of texts that cost a normaliser or a tokenizer more than ordinary text does: each repeats to any length."""

from __future__ import annotations

import unicodedata
from itertools import cycle, islice

MARKS_BY_CLASS = sorted(
    {
        unicodedata.combining(chr(code)): chr(code) for code in range(0x110000) if unicodedata.combining(chr(code))
    }.items()
)
"""One combining mark of each canonical combining class, ascending."""

_WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_DESCENDING = "".join(mark for _, mark in reversed(MARKS_BY_CLASS))

_UNITS = {
    "ordinary sentences": "비가 오는 날에는 따뜻한 국수가 먹고 싶다. ",
    "syllables without a space": "가나다라마바사",
    "one syllable": "가",
    "one Latin letter": "a",
    "letters without a space": "thequickbrownfox",
    "digits": "0123456789",
    "punctuation": "!?.,;:…·",
    "one full stop": ".",
    "marks of alternating classes": "\u0301\u0323",
    "marks of all classes, descending": _DESCENDING,
    "a base, then thirty marks": "a" + "\u0301" * 15 + "\u0323" * 15,
    "a base, then marks of all classes": "가" + _DESCENDING,
    "marks that decompose into two classes": "\u0f73\u0f81\u0f75",
    "marks that compose": "か\u3099",
    "leading jamo": "\u1112",
    "vowel jamo": "\u1161",
    "trailing jamo": "\u11ab",
    "decomposed syllables": "\u1112\u1161\u11ab",
    "compatibility jamo": "ㅋㅎㅏ",
    "emoji joined by ZWJ": "\U0001f469\u200d",
    "emoji of skin tones": "\U0001f44d\U0001f3fd",
    "regional indicators": "\U0001f1f0\U0001f1f7",
    "variation selectors": "\ufe0f",
    "tag characters": "\U000e0061",
    "Arabic": "السلام",
    "Hebrew with points": "ש\u05bc\u05b8\u05c1",
    "right-to-left overrides": "\u202e\u202c",
    "Devanagari stacks": "क\u094d\u0937\u094d",
    "Tibetan stacks": "\u0f40\u0fb5\u0f71\u0f72",
    "Thai": "ก็ู้",
    "unassigned": "\u0378\U000e0fff",
    "private use": "\ue000\U0010fffd",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "replacement characters": "\ufffd",
    "zero-width characters": "\u200b\u200c\u2060\ufeff",
    "one space": " ",
    "white space of all kinds": _WHITE,
    "line ends": "\r\n",
    "tabs": "\t",
    "NUL": "\0",
    "controls": "\x01\x1b\x7f\x9f",
    "CJK compatibility": "\uf900\ufa0e\U0002f800",
    "CJK of the supplementary planes": "\U00020000\U0003134a",
    "compatibility words": "\ufdfa\u3300\u33c2",
    "fullwidth": "Ａｂｃ１",
    "mathematical letters": "\U0001d400\U0001d7ff",
    "musical symbols that decompose": "\U0001d15f\U0001d1bd",
    "Greek of three marks": "\u1f82\u1fa7\u0390",
    "special tokens": "[PAD][CLS]</s><mask>",
    "a mask token": "<mask>",
    "the tokenizers' own marks": "▁##Ġ",
    "byte names": "<0x00><0xEA>",
    "capitals that grow": "\u0130\u1e9e\u0149",
}


FAMILIES = (*_UNITS, "one base, then marks in two halves", "one base, then marks of every class in turn")


def hostile_text(family: str, characters: int) -> str:
    """A text of so many characters."""
    if family == "one base, then marks in two halves":
        half = (characters - 1) // 2
        return "가" + "\u0301" * (characters - 1 - half) + "\u0323" * half
    if family == "one base, then marks of every class in turn":
        return "가" + "".join(islice(cycle(_DESCENDING), characters - 1))
    return "".join(islice(cycle(_UNITS[family]), characters))
