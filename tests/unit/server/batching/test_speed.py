"""The speed of each version, and what goes by."""

from __future__ import annotations

import pytest

from munjang_server.batching.speed import Flow, SpeedMeter


def test_a_version_that_never_ran_is_taken_to_be_like_the_last_one():
    meter = SpeedMeter()
    meter.record(1, 100, 0.5)

    assert meter.curve(2).seconds(100) == 0.5
    assert not meter.measured(2)


def test_versions_have_speeds_of_their_own():
    meter = SpeedMeter()
    meter.record(1, 100, 0.5)
    meter.record(2, 100, 0.1)

    assert (meter.curve(1).seconds(100), meter.curve(2).seconds(100)) == (0.5, 0.1)


def test_versions_that_are_long_gone_are_forgotten():
    meter = SpeedMeter()
    for version in range(100):
        meter.record(version, 100, 0.1)

    assert not meter.measured(0)
    assert meter.measured(99)


def test_tokens_per_second_are_those_of_full_batches():
    meter = SpeedMeter()
    assert meter.tokens_per_second(4096) == 0
    meter.record(1, 500, 0.1)
    meter.record(1, 5000, 0.5)

    assert meter.tokens_per_second(5000) == pytest.approx(10_000, rel=0.01)


def test_a_flow_fades_when_nothing_goes_by():
    flow = Flow(seconds=5.0)
    for tenth in range(1000):
        flow.add(100, tenth / 10)

    assert flow.rate(100.0) == pytest.approx(1000, rel=0.05)
    assert flow.rate(130.0) < 10
