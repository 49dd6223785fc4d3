"""Warming runs every shape that a model will serve, within the budget and the model's limit."""

from __future__ import annotations

from munjang.encoder.contract import ModelInfo
from munjang.engine.warming import warm
from munjang.testing import FakeEncoder


def widths(encoder):
    seen = []
    forward = encoder.forward
    encoder.forward = lambda batch: seen.append((len(batch), max(map(len, batch)))) or forward(batch)
    return seen


def test_each_width_runs_alone_and_usual_sentences_as_a_full_batch():
    encoder = FakeEncoder(info=ModelInfo(8, 48))
    seen = widths(encoder)
    warm(encoder, budget=128)

    assert seen == [(1, 8), (1, 16), (1, 32), (1, 48), (4, 32)]


def test_a_budget_below_one_text_still_runs_one():
    encoder = FakeEncoder(info=ModelInfo(8, 16))
    seen = widths(encoder)
    warm(encoder, budget=4)

    assert seen == [(1, 8), (1, 16), (1, 16)]


def test_a_model_without_a_limit_is_warmed_to_the_widest_width():
    encoder = FakeEncoder(info=ModelInfo(8, 1 << 20))
    seen = widths(encoder)
    warm(encoder, budget=512)

    assert seen[-2:] == [(1, 512), (16, 32)]
