"""What is learned from forwards: how long the next one takes, how large it should be."""

from __future__ import annotations

import pytest

from server.batching.speed import UNMEASURED, Curve, Flow, SpeedMeter

START, TOKEN = 0.004, 1 / 10_000  # a forward of this engine costs as much as 40 tokens before it begins


def curve(*sizes, start=START, token=TOKEN):
    made = Curve()
    for size in sizes:
        made.record(size, start + size * token)
    return made


def test_an_unmeasured_speed_is_taken_as_slow():
    assert Curve().seconds(1000) == 1000 / UNMEASURED


def test_between_measured_sizes_the_line_is_followed():
    assert curve(10, 1000).seconds(500) == pytest.approx(START + 500 * TOKEN)


def test_beyond_the_largest_measured_size_time_grows_with_it():
    assert curve(10, 1000).seconds(4000) == pytest.approx(4 * (START + 1000 * TOKEN))


def test_a_slow_first_forward_of_a_few_tokens_says_little_about_long_ones():
    made = Curve()
    made.record(10, 0.2)

    assert made.seconds(1000) < 1.0


def test_below_a_single_measured_size_nothing_is_promised():
    assert curve(1000).seconds(10) == pytest.approx(START + 1000 * TOKEN)


def test_below_two_measured_sizes_their_line_is_followed():
    assert curve(100, 1000).seconds(10) == pytest.approx(START + 10 * TOKEN)


def test_an_engine_that_became_slower_is_noticed():
    made = curve(500)
    for _ in range(40):
        made.record(500, 0.5)

    assert made.seconds(500) == pytest.approx(0.5, rel=0.05)


def test_one_forward_during_which_the_machine_stood_still_changes_little():
    made = curve(500)
    before = made.seconds(500)

    made.record(500, 3600.0)

    assert made.seconds(500) < 2 * before


def test_what_is_forgotten_is_learned_anew_at_once():
    curve = Curve()
    curve.record(10, 0.01)
    for _ in range(20):
        curve.record(100, 5.0)
    curve.forget(100)
    assert curve.seconds(100) < 1

    curve.record(100, 0.1)
    assert curve.seconds(100) == pytest.approx(0.1)


def test_the_last_that_is_known_is_not_forgotten():
    curve = Curve()
    curve.record(100, 5.0)
    curve.forget(100)
    assert curve.measured
    assert curve.seconds(100) == pytest.approx(5.0)


def test_tokens_within_a_time_are_the_most_that_end_in_it():
    made = curve(10, 100, 1000, 4000)

    tokens = made.tokens_within(0.05, 4096)

    assert made.seconds(tokens) <= 0.05 < made.seconds(tokens + 1)
    assert made.tokens_within(100.0, 4096) == 4096
    assert made.tokens_within(0.000001, 4096) == 0


def test_a_batch_is_large_enough_when_larger_ones_are_hardly_faster():
    assert 1000 <= curve(16, 64, 256, 1500, 4096).enough(4096) <= 1500


def test_a_small_batch_is_not_enough_however_fast_its_forward():
    """Between two forwards there is time that none of them is charged with."""
    assert curve(16, 64, 256, 512, 4096, start=0.0).enough(4096) == 1024


def test_larger_batches_are_tried_while_the_largest_known_was_the_fastest():
    assert curve(16, 700, start=0.1).enough(4096) == 1400
    assert curve(16, 3000, start=0.1).enough(4096) == 4096


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
