"""Forwards beside versions that serve: each is followed by a rest, and long ones rest between their parts."""

from __future__ import annotations

import pytest

from munjang.engine import resting
from munjang.engine.resting import Resting
from munjang.engine.warming import warm
from munjang.testing import FakeEncoder


@pytest.fixture
def clock(monkeypatch):
    """A clock of which each reading is a second later; what was slept stands in its list."""
    slept, now = [], iter(range(1000))
    monkeypatch.setattr(resting.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(resting.time, "sleep", slept.append)
    return slept


def test_a_forward_is_followed_by_a_rest_of_twice_its_time(clock):
    encoder = FakeEncoder()
    tokens = encoder.tokenize(["문장", "또 하나"])

    assert (Resting(encoder).forward(tokens) == encoder.forward(tokens)).all()
    assert clock == [2.0]


def test_a_forward_of_three_parts_rests_between_them_too(clock):
    encoder = FakeEncoder(parts=3)
    Resting(encoder).forward(encoder.tokenize(["문장"]))

    assert clock == [2.0, 2.0, 2.0]


def test_one_beside_others_is_followed_by_a_rest_too(clock):
    encoder = FakeEncoder(parts=3, streams=2)
    beside = []
    forward = encoder.forward
    encoder.forward = lambda *arguments, **options: beside.append(options["beside"]) or forward(*arguments, **options)
    Resting(encoder).forward(encoder.tokenize(["문장"]), beside=True)

    assert beside == [True]
    assert clock == [2.0]


def test_it_says_of_itself_what_the_encoder_says_and_is_warmed_as_it(clock):
    encoder = FakeEncoder(parts=3, streams=2)
    eased = Resting(encoder)
    warm(eased, budget=128)

    assert eased.info is encoder.info
    assert eased.streams == 2
    assert eased.computed([3, 4]) == encoder.computed([3, 4])
    assert len(encoder.batches) == len(range(4, 65, 4)) + len([96, 128]) + len(["two rows", "one beside", "another"])
    eased.close()
    assert encoder.closed
