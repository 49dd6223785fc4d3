"""The arrays of a frame: every token of every text where `index` says it is, and nothing of others beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.encoder.contract import Tokens
from munjang.encoder.model_inputs import arrays, in_frames
from munjang.encoder.model_rules import Rules
from munjang.encoder.sequence_packing import Frame, lay_out

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=20)


def rules(*, packs=True, first_position=0, wants_type_ids=True):
    return Rules(
        dimensions=8,
        max_tokens=128,
        similarity="cosine",
        prompts={},
        default_prompt="",
        tokenizer="",
        truncation_side="right",
        special_ids=frozenset(),
        pools_prompt=True,
        pad_id=-1,
        pad_type_id=-2,
        wants_type_ids=wants_type_ids,
        packs=packs,
        first_position=first_position,
    )


def batch_of(lengths):
    """Texts whose token ids say which text and which token they are."""
    return [
        Tokens(tuple(1000 * text + step for step in range(length)), type_ids=(text,) * length)
        for text, length in enumerate(lengths)
    ]


def read(array, found, row):
    """The values of a text's own tokens, in order."""
    return found[array].reshape(-1)[found["index"][row]][found["mask"][row] == 1].tolist()


@given(lengths=LENGTHS, how=st.sampled_from([rules(), rules(first_position=2), rules(packs=False)]))
def test_every_token_is_where_the_index_says(lengths, how):
    batch = batch_of(lengths)
    for frame in lay_out(lengths, packs=how.packs):
        found = arrays(frame, batch, how)
        for row, text in enumerate(frame.texts):
            assert read("input_ids", found, row) == list(batch[text].ids)
            assert read("token_type_ids", found, row) == [text] * lengths[text]
            assert len(set(read("segments", found, row))) == 1
            if how.packs:
                start = how.first_position
                assert read("position_ids", found, row) == list(range(start, start + lengths[text]))
        assert (found["input_ids"] >= 0).sum() == (found["segments"] > 0).sum() == sum(lengths[t] for t in frame.texts)


@given(lengths=LENGTHS)
def test_texts_of_one_row_have_segments_of_their_own(lengths):
    batch = batch_of(lengths)
    for frame in lay_out(lengths, packs=True):
        found = arrays(frame, batch, rules())
        for row, texts in zip(found["segments"], frame.rows, strict=True):
            assert sorted({int(value) for value in row} - {0}) == list(range(1, len(texts) + 1))


def test_the_inputs_of_a_lone_text_have_shapes_that_follow_from_its_row_alone():
    found = arrays(Frame(12, ((0,),)), batch_of([3]), rules(first_position=2))

    assert {array.shape for array in found.values()} == {(1, 12)}
    assert found["mask"].sum() == 3


@pytest.mark.parametrize("how", [rules(first_position=2), rules(packs=False)])
def test_what_is_remembered_of_a_length_is_not_mixed_up_between_texts_and_models(how):
    for other in (rules(), rules(first_position=7), how):
        for text in (Tokens((5, 6, 7), (1, 1, 1)), Tokens((8, 9, 10), (2, 2, 2))):
            [frame] = lay_out([3], packs=other.packs)
            found = arrays(frame, [text], other)

            assert read("input_ids", found, 0) == list(text.ids)
            assert read("token_type_ids", found, 0) == list(text.type_ids)
            assert found["input_ids"][0].tolist() == [*text.ids, -1]


@given(lengths=LENGTHS, packs=st.booleans())
def test_rows_come_in_the_order_of_the_batch(lengths, packs):
    def firsts(given):
        """A model that gives each text's first token."""
        own = np.take_along_axis(given["input_ids"].reshape(-1)[given["index"]], np.zeros((1, 1), int), 1)
        return own.astype(np.float32)

    found = in_frames(batch_of(lengths), rules(packs=packs), firsts)

    assert found[:, 0].tolist() == [1000.0 * text for text in range(len(lengths))]
