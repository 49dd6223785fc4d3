"""Checks of requests, one by one."""

from __future__ import annotations

import pytest

from munjang.encoder.contract import Tokens
from munjang.errors import EmptyText, NoTexts, TextTooLong, TooManyTexts
from munjang_server.rpc.request_parsing import check_count, raise_first, text_errors, token_errors


@pytest.mark.parametrize("count", [1, 4])
def test_a_list_within_its_bounds_passes(count):
    check_count(count, 4, "texts")


@pytest.mark.parametrize(("count", "error"), [(0, NoTexts), (5, TooManyTexts)])
def test_a_list_out_of_its_bounds_is_refused_by_its_field(count, error):
    with pytest.raises(error) as caught:
        check_count(count, 4, "queries")
    assert caught.value.path == "queries"


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000\u00a0", "\u2003"])
def test_texts_of_nothing_are_errors(text):
    errors = text_errors(["좋다", text], "texts", 10)
    assert [(index, type(error), error.path) for index, error in errors.items()] == [(1, EmptyText, "texts[1]")]


def test_a_text_may_have_as_many_characters_as_accepted_and_no_more():
    errors = text_errors(["가" * 10, "가" * 11], "candidates", 10)
    assert [(index, type(error), error.path) for index, error in errors.items()] == [(1, TextTooLong, "candidates[1]")]


def test_cut_texts_are_errors_only_where_cutting_was_ruled_out():
    tokens = [Tokens((1, 2)), None, Tokens((1, 2), truncated=True)]
    assert token_errors(tokens, "texts", 2, truncate=True) == {}
    assert {index: type(error) for index, error in token_errors(tokens, "texts", 2, truncate=False).items()} == {
        2: TextTooLong
    }


def test_a_text_of_which_nothing_is_left_to_read_is_empty():
    assert {index: type(error) for index, error in token_errors([Tokens(())], "texts", 2, truncate=True).items()} == {
        0: EmptyText
    }


def test_the_fault_of_the_first_text_is_raised():
    raise_first({})
    with pytest.raises(NoTexts):
        raise_first({7: EmptyText("나중"), 2: NoTexts("먼저")})
