"""Forwards beside versions that serve: each is followed by a rest."""

from __future__ import annotations

import pytest

from munjang.engine import throttled_encoder
from munjang.engine.preflight import warm
from munjang.engine.throttled_encoder import ThrottledEncoder
from munjang.testing import FakeEncoder


@pytest.fixture
def clock(monkeypatch):
    """A clock of which each reading is a second later; what was slept stands in its list."""
    slept, now = [], iter(range(1000))
    monkeypatch.setattr(throttled_encoder.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(throttled_encoder.time, "sleep", slept.append)
    return slept


def test_a_forward_is_followed_by_a_rest_of_twice_its_time(clock):
    encoder = FakeEncoder()
    tokens = encoder.tokenize(["문장", "또 하나"])

    assert (ThrottledEncoder(encoder).forward(tokens) == encoder.forward(tokens)).all()
    assert clock == [2.0]


def test_one_beside_others_is_followed_by_a_rest_too_and_can_be_cancelled(clock):
    encoder = FakeEncoder(streams=2)
    asked = []
    forward = encoder.forward
    encoder.forward = lambda batch, **options: asked.append(options) or forward(batch)
    cancellation = object()
    ThrottledEncoder(encoder).forward(encoder.tokenize(["문장"]), share=True, cancellation=cancellation)

    assert asked == [{"share": True, "cancellation": cancellation}]
    assert clock == [2.0]


def test_it_says_of_itself_what_the_encoder_says_and_is_warmed_as_it(clock):
    encoder = FakeEncoder(streams=2)
    throttled = ThrottledEncoder(encoder)
    warm(throttled, budget=128)

    assert throttled.info is encoder.info
    assert throttled.streams == 2
    assert throttled.computed([3, 4]) == encoder.computed([3, 4])
    assert len(encoder.batches) == len(range(4, 65, 4)) + len([96, 128]) + len(["two rows", "one beside", "another"])
    throttled.close()
    assert encoder.closed
