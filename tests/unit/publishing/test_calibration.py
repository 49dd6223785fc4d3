"""The int8 step."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import normalized
from munjang.kinds import Role
from munjang.korean import SENTENCES
from munjang.publishing.describe import MARGIN, calibrate, step_of
from munjang.testing import FakeEncoder
from munjang.vectors import quantize_int8


def test_the_step_is_the_largest_component_of_the_normalised_vectors_with_a_margin():
    assert step_of(np.array([[3, 4], [-5, 12]], np.float32)) == pytest.approx(12 / 13 * MARGIN / 127)


def test_vectors_of_other_texts_keep_their_direction_in_int8():
    rng = np.random.default_rng(7)
    vectors = normalized(rng.standard_normal((500, 384)).astype(np.float32))
    step = step_of(vectors[:60])
    back = normalized(quantize_int8(vectors[60:], step) * np.float32(step))
    assert np.einsum("ij,ij->i", back, vectors[60:]).min() >= 0.9999


def test_a_model_that_gives_zeros_has_no_calibration():
    assert step_of(np.zeros((3, 4), np.float32)) == 0


def test_every_prompt_takes_part_and_every_sentence_is_run_once():
    encoder = FakeEncoder(ModelInfo(8, 128, prompts={"query": "질문: ", "passage": "글: "}))
    asked = []
    tokenize = encoder.tokenize
    encoder.tokenize = lambda texts, how: asked.append(how) or tokenize(texts, how)
    assert calibrate(encoder) > 0
    assert {how.prompt for how in asked} == {"", "질문: ", "글: "}
    assert {how.role for how in asked} == {None, *Role}
    assert sum(encoder.batches) == len(SENTENCES)
