"""What identifies a row's content, and when two vectors are the same."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from munjang.errors import SpaceMismatch
from munjang.index.layout import TEXT_CHARS, Layout, agree, content_hash, text_hash
from munjang.vectors import Precision

SPACE = "0123456789abcdef" * 2


def test_a_text_has_one_hash_in_every_normal_form():
    decomposed = unicodedata.normalize("NFD", "한글 문장")
    assert decomposed != "한글 문장"
    assert text_hash(decomposed) == text_hash("한글 문장")
    assert text_hash("한글") != text_hash("한국")
    assert text_hash(None) not in {text_hash(""), text_hash("-")}


def test_other_columns_change_the_second_part_alone():
    one, other = content_hash("글", ["제목", 1]), content_hash("글", ["제목", 2])
    assert one[:TEXT_CHARS] == other[:TEXT_CHARS]
    assert one != other


def test_vectors_agree_by_direction_whatever_length_a_store_gave_them():
    layout = Layout(SPACE, 3)
    given = np.array([[1, 2, 3], [0, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    kept = np.array([[2, 4, 6], [0, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    assert agree(kept, given, layout).tolist() == [True, True, False, False]
    bits = Layout(SPACE, 8, precision=Precision.UBINARY)
    assert agree(np.array([[7], [6]], np.uint8), np.array([[7], [7]], np.uint8), bits).tolist() == [True, False]


def test_a_layout_is_read_back_and_any_difference_is_named():
    layout = Layout(SPACE, 8, precision=Precision.INT8, int8_scale=0.5, columns=(("a", "text"),), prompt="글: ")
    assert Layout.of_dict(layout.as_dict()) == layout
    layout.require_same(Layout.of_dict(layout.as_dict()), "faq")
    with pytest.raises(SpaceMismatch, match="table faq holds vectors of prompt '글: '"):
        layout.require_same(Layout.of_dict(layout.as_dict() | {"prompt": None}), "faq")
