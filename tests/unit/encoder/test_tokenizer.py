"""The tokenizer under texts that are meant to take long, and lists that come in pieces."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.encoder.load import load_encoder
from munjang.encoder.sentence_encoder import LoadOptions
from munjang.encoder.tokenizer import PIECE_CHARS, in_pieces
from tests.hostile_texts import FAMILIES, hostile_text


@pytest.fixture(scope="module")
def encoders(tiny_folder, starter_folder):
    loaded = [
        load_encoder(folder, LoadOptions(device="cpu", runtime="torch")) for folder in (tiny_folder, starter_folder)
    ]
    yield loaded
    for encoder in loaded:
        encoder.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_texts_take_time_that_grows_with_their_length(encoders, family):
    text = hostile_text(family, 200_000)
    for encoder in encoders:
        begun = time.process_time()
        (tokens,) = encoder.tokenize([text])
        assert time.process_time() - begun < 10
        assert len(tokens) <= encoder.info.max_tokens


@given(st.lists(st.integers(1, 2 * PIECE_CHARS).map(lambda length: "가" * length), min_size=1, max_size=12))
def test_pieces_are_all_texts_in_order_and_long_only_where_one_text_is(texts):
    pieces = list(in_pieces(texts))
    assert [text for piece in pieces for text in piece] == texts
    assert all(len(piece) == 1 or sum(map(len, piece)) <= PIECE_CHARS for piece in pieces)
    assert all(sum(map(len, first)) + len(second[0]) > PIECE_CHARS for first, second in pairwise(pieces))
