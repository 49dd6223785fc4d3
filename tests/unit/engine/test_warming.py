"""Warming runs every shape that a model will serve, within the budget and the model's limit."""

from __future__ import annotations

from munjang.encoder.contract import ModelInfo
from munjang.engine.warming import warm
from munjang.testing import FakeEncoder


def test_each_width_runs_alone_and_as_a_full_batch():
    encoder = FakeEncoder(info=ModelInfo(8, 32))
    warm(encoder, budget=64)

    assert encoder.batches == [1, 8, 1, 4, 1, 2]


def test_a_budget_below_one_text_still_runs_each_width_alone():
    encoder = FakeEncoder(info=ModelInfo(8, 16))
    warm(encoder, budget=4)

    assert encoder.batches == [1, 1]


def test_a_model_without_a_limit_is_warmed_to_the_widest_width():
    encoder = FakeEncoder(info=ModelInfo(8, 1 << 20))
    warm(encoder, budget=512)

    assert encoder.batches[-1] == 1
    assert len(encoder.batches) == 6 * 2 + 1
