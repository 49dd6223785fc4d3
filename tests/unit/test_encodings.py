"""Which encoding a text file looks like: Korean in any of its encodings is told apart, and what fits is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.encodings import better_encoding, is_line_wise, likely_encoding

ENCODINGS = ["utf-8", "cp949", "utf-16-le", "utf-16-be"]
HANGUL = st.text(
    st.sampled_from("가나다라마바사아자차카타파하비온눈길문장똠각펲") | st.sampled_from("abc ,.123"), min_size=8
)
TEXTS = st.lists(HANGUL.map(lambda text: f"한글 문장 {text}"), min_size=3).map(lambda lines: "\n".join(lines) + "\n")


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS)
def test_korean_texts_look_like_what_they_are_in(encoding: str, text: str) -> None:
    assert likely_encoding(text.encode(encoding)) == encoding


@pytest.mark.parametrize("named", [*ENCODINGS, "utf-16"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS)
def test_another_encoding_is_named_only_where_the_named_one_does_not_fit(encoding: str, named: str, text: str) -> None:
    fits = encoding == named or (encoding, named) == ("utf-16-le", "utf-16")
    assert better_encoding(text.encode(encoding), named) == ("" if fits else encoding)


def test_a_mark_of_the_other_byte_order_is_believed() -> None:
    assert better_encoding("\ufeff글\n".encode("utf-16-le"), "utf-16-be") == "utf-16"
    assert better_encoding("\ufeff글\n".encode("utf-16-le"), "utf-16-le") == ""


@given(text=TEXTS, cut=st.integers(1, 3))
def test_a_start_that_ends_within_a_character_still_looks_the_same(text: str, cut: int) -> None:
    for encoding in ("utf-8", "cp949"):
        assert likely_encoding(text.encode(encoding)[:-cut]) == encoding


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_whatever_is_utf8_is_never_called_anything_else(text: str) -> None:
    assert better_encoding(text.encode(), "utf-8") == ""


@pytest.mark.parametrize("text", ["café\n", "naïve coöperation\n", "Grüße\nÄÖÜ ßßß\n"])
def test_other_encodings_are_not_taken_for_those_of_korea(text: str) -> None:
    assert likely_encoding(text.encode("latin-1")) == ""
    assert better_encoding(text.encode("latin-1"), "latin-1") == ""


@pytest.mark.parametrize(
    ("encoding", "expected"), [("CP949", True), ("euc-kr", True), ("utf-16", False), ("utf-7", False)]
)
def test_an_encoding_is_line_wise_where_a_line_end_is_a_byte(encoding: str, expected: bool) -> None:
    assert is_line_wise(encoding) is expected
