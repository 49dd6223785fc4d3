"""How texts lie in rows, as properties of pure functions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from munjang.encoder import sequence_packing
from munjang.encoder.sequence_packing import Frame, computed, lay_out

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=150)
SENTENCES = st.lists(st.integers(4, 64), min_size=60, max_size=300)


def total(frames):
    return sum(frame.tokens for frame in frames)


@given(lengths=LENGTHS, packs=st.booleans())
def test_every_text_lies_in_exactly_one_place(lengths, packs):
    texts = [position for frame in lay_out(lengths, packs=packs) for position in frame.texts]

    assert sorted(texts) == list(range(len(lengths)))


@given(lengths=LENGTHS, packs=st.booleans())
def test_the_texts_of_a_row_fit_into_it(lengths, packs):
    for frame in lay_out(lengths, packs=packs):
        assert all(row and sum(lengths[position] for position in row) <= frame.width for row in frame.rows)


@given(LENGTHS)
def test_a_model_that_cannot_pack_has_one_text_a_row(lengths):
    assert all(len(row) == 1 for frame in lay_out(lengths, packs=False) for row in frame.rows)


@given(lengths=LENGTHS, packs=st.booleans())
def test_the_same_lengths_are_laid_out_the_same(lengths, packs):
    assert lay_out(lengths, packs=packs) == lay_out(tuple(lengths), packs=packs)


@given(lengths=LENGTHS, packs=st.booleans())
def test_what_is_computed_is_every_place_of_every_row(lengths, packs):
    assert computed(lengths, packs=packs) == total(lay_out(lengths, packs=packs)) >= sum(lengths)


@given(SENTENCES)
def test_of_packed_sentences_at_most_a_tenth_is_padding_beside_one_row(lengths):
    assert total(lay_out(lengths, packs=True)) <= sum(lengths) / 0.9 + sequence_packing.SHARED_WIDTHS[-1]


@given(st.lists(st.one_of(st.integers(4, 64), st.integers(65, 512)), min_size=1, max_size=200))
def test_apart_texts_waste_no_more_than_another_frame_would_cost(lengths):
    for frame in lay_out(lengths, packs=False):
        own = sum(lengths[position] for position in frame.texts)
        assert frame.tokens - own <= max(sequence_packing.START, 8)


@given(st.integers(1, 2000))
def test_a_single_text_has_a_row_of_its_own_width(length):
    [frame] = lay_out([length], packs=True)

    assert frame == Frame(sequence_packing.round_up(length), ((0,),))
    assert 0 <= frame.width - length < 8


@given(st.integers(1, 64), st.integers(2, 200))
def test_texts_of_one_length_are_not_padded_but_to_the_next_width(length, texts):
    frames = lay_out([length] * texts, packs=True)

    assert total(frames) <= sequence_packing.round_up(length) * texts


@given(LENGTHS, st.integers(100, 2000))
def test_where_starting_costs_much_there_are_fewer_frames(lengths, start):
    assert len(lay_out(lengths, packs=False, start=start)) <= len(lay_out(lengths, packs=False))


def test_short_texts_fill_what_long_ones_leave():
    frames = lay_out([100, 98, 97, 4, 5, 3, 2], packs=True)

    assert [frame.width for frame in frames] == [104]
    assert len(frames[0].rows) == 3


def test_a_few_words_share_one_row():
    assert lay_out([5, 9, 6], packs=True) == (Frame(20, ((1, 2, 0),)),)


def test_there_are_few_widths_for_a_runtime_to_prepare():
    assert len({sequence_packing.round_up(length) for length in range(1, 513)}) <= 72
