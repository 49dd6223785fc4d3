"""The tokens of a text, as people see them."""

from __future__ import annotations

import pytest

from munjang.encoder.load import load_encoder
from munjang.encoder.prompting import prompting
from munjang.encoder.sentence_encoder import LoadOptions


@pytest.fixture(scope="module")
def encoder(tiny_folder):
    return load_encoder(tiny_folder, LoadOptions(device="cpu", runtime="torch"))


def test_the_pieces_are_the_ids_that_the_model_reads(encoder):
    text = "비가 온다 ㅋㅋ 😀 abc"
    (pieces,) = encoder.pieces([text], "", special=True)
    (tokens,) = encoder.tokenize([text], prompting(encoder.info))
    assert tuple(piece.id for piece in pieces) == tokens.ids
    (plain,) = encoder.pieces([text], "", special=False)
    assert plain == [piece for piece in pieces if not piece.special]
    assert all(text[piece.start : piece.stop] == piece.text for piece in plain)


def test_what_is_cut_off_is_among_them_in_order(encoder):
    text = "가나다 라마바 " * encoder.info.max_tokens
    (pieces,) = encoder.pieces([text], "", special=True)
    assert len(pieces) > encoder.info.max_tokens
    assert [piece.special for piece in pieces].count(True) == len(encoder.pieces(["가"], "", special=True)[0]) - len(
        encoder.pieces(["가"], "", special=False)[0]
    )
    starts = [piece.start for piece in pieces if not piece.special]
    assert starts == sorted(starts)
