"""Our NFC: what the standard library gives, of every character and in every order, in time that grows with the text."""

from __future__ import annotations

import re
import time
import unicodedata
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang import normalization
from munjang.normalization import nfc
from tests.hostile_texts import FAMILIES, hostile_text

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
TELLING = [character for character in EVERY if unicodedata.combining(character) or unicodedata.decomposition(character)]
"""What order or composition can change; Hangul is in `ODD`."""

ODD = (
    "a가각ωか\u1112\u1161\u11ab\u0301\u0323\u0338\u0345\u0344\u0327"
    "\u05b0\u093c\u09be\u09c7\u0d57\u0f71\u0f73\u0f81\u3099"
)
"""Bases, marks of many classes, marks that decompose, and all kinds of what composes."""


@pytest.fixture
def small_pieces(monkeypatch):
    """Cut and put in order even short texts."""
    pattern = normalization._PIECE.pattern.replace(str(normalization.PIECE_CHARS), "2")
    monkeypatch.setattr(normalization, "_PIECE", re.compile(pattern))
    monkeypatch.setattr(normalization, "LONG_RUN", 2)


def standard(text):
    return unicodedata.normalize("NFC", text)


def test_every_character_alone(small_pieces):
    assert [character for character in EVERY if nfc(character) != standard(character)] == []


@pytest.mark.parametrize("other", ODD)
def test_every_telling_character_before_and_behind(small_pieces, other):
    text = "".join(f"{one}{other} {other}{one} 가{other}{one}{other}" for one in TELLING)
    assert nfc(text) == standard(text)


def test_every_order_of_four(small_pieces):
    differ = [text for four in product(ODD, repeat=4) if nfc(text := "".join(four)) != standard(text)]
    assert differ == []


@given(st.text(st.sampled_from(ODD) | st.characters(), max_size=200))
def test_any_text(text):
    assert nfc(text) == standard(text)
    assert nfc(unicodedata.normalize("NFD", text)) == standard(text)


@given(st.text(st.sampled_from([*ODD, *TELLING]), min_size=30, max_size=120))
def test_long_runs_of_marks(text):
    assert nfc("가" * (normalization.PIECE_CHARS - 1) + text) == standard("가" * (normalization.PIECE_CHARS - 1) + text)


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_texts_take_time_that_grows_with_their_length(family):
    short, long = hostile_text(family, 3000), hostile_text(family, 200_000)
    assert nfc(short) == standard(short)
    begun = time.thread_time()
    composed = nfc(long)
    assert time.thread_time() - begun < 5
    assert nfc(composed) == composed
