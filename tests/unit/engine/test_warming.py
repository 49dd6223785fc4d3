"""Warming runs every shape that a model will serve, within the budget and the model's limit."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import pytest

from munjang.encoder.contract import ModelInfo
from munjang.engine import preflight
from munjang.engine.preflight import warm
from munjang.testing import FakeEncoder


def widths(encoder):
    seen = []
    forward = encoder.forward
    encoder.forward = lambda batch, **_: seen.append((len(batch), max(map(len, batch)))) or forward(batch)
    return seen


def test_every_width_of_a_short_text_runs_alone_then_rows_of_them_then_a_full_batch():
    encoder = FakeEncoder(info=ModelInfo(8, 48))
    seen = widths(encoder)
    warm(encoder, budget=512)

    assert seen == [*((1, width) for width in range(4, 49, 4)), *((rows, 48) for rows in range(2, 9)), (10, 48)]


def test_no_batch_is_over_the_budget_but_a_single_text():
    encoder = FakeEncoder(info=ModelInfo(8, 16))
    seen = widths(encoder)
    warm(encoder, budget=4)

    assert seen == [(1, 4), (1, 8), (1, 12), (1, 16)]


@pytest.mark.parametrize(("longest", "rows"), [(math.inf, 64), (1.0, 15), (0.2, 8)])
def test_the_largest_batch_is_one_that_may_come(monkeypatch, longest, rows):
    encoder = FakeEncoder(info=ModelInfo(8, 64))
    seen = widths(encoder)
    monkeypatch.setattr(preflight.time, "perf_counter", lambda: 0.001 * sum(count * width for count, width in seen))
    warm(encoder, budget=4096, longest=longest)

    assert seen[-1] == (rows, 64)


@dataclass
class Shared(FakeEncoder):
    """Forwards beside others return when as many run as there are streams."""

    streams: int = 3

    def __post_init__(self):
        super().__post_init__()
        self.together = threading.Barrier(self.streams)
        self.shared = []

    def forward(self, batch, *, share=False, cancellation=None):
        if share:
            self.together.wait(20)
            self.shared.append(len(batch))
        return super().forward(batch)


def test_a_model_whose_forwards_run_beside_each_other_is_warmed_on_all_streams_at_once():
    encoder = Shared(info=ModelInfo(8, 64))
    warm(encoder, budget=1920)

    assert encoder.shared == [10, 10, 10]


def test_beside_others_a_share_of_the_budget_is_one_text_at_least():
    encoder = Shared(info=ModelInfo(8, 64))
    warm(encoder, budget=4)

    assert encoder.shared == [1, 1, 1]


def test_a_model_without_a_limit_is_warmed_to_the_widest_width():
    encoder = FakeEncoder(info=ModelInfo(8, 1 << 20))
    seen = widths(encoder)
    warm(encoder, budget=640)

    assert (1, 512) in seen
    assert seen[-1] == (10, 64)
