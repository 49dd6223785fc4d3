"""What is learned from forwards: how long the next one takes, how large it should be."""

from __future__ import annotations

import pytest

from munjang_server.batching.curve import UNMEASURED, Curve

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


def test_what_a_slow_spell_taught_of_other_sizes_is_corrected_by_the_size_that_runs():
    """Else callers of the other sizes are refused for it, and nothing they do would show that it is over."""
    made = curve(10, 100, 1000)
    for size in (10, 100, 1000):
        for _ in range(40):
            made.record(size, 20 * (START + size * TOKEN))
    for _ in range(40):
        made.record(100, START + 100 * TOKEN)

    assert made.seconds(10) <= 1.25 * made.seconds(100)
    assert made.seconds(1000) <= 1.25 * 10 * made.seconds(100)


def test_sizes_that_agree_with_each_other_are_left_as_they_are():
    made = curve(10, 100, 1000)
    before = [made.seconds(size) for size in (10, 100, 1000)]
    for size in (1000, 100, 10):
        made.record(size, START + size * TOKEN)

    assert [made.seconds(size) for size in (10, 100, 1000)] == pytest.approx(before)


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
