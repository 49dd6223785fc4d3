"""Seconds of a forward: learned from forwards of any sizes, robust, and forgetful of slow spells."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang_server.scheduling.latency_model import UNMEASURED, Flow, Latencies, LatencyModel

SIZES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Machine:
    """A model that takes `start + per_token · tokens + per_token · squares / width` seconds, a little noisy."""

    def __init__(self, start=0.002, per_token=5e-5, width=2000, seed=1):
        self.start, self.per_token, self.width = start, per_token, width
        self.slower = 1.0
        self.now = 0.0
        self.source = random.Random(seed)  # noqa: S311 - simulated traffic
        self.model = LatencyModel(lambda: self.now)

    def seconds(self, tokens, squares):
        return self.start + self.per_token * (tokens + squares / self.width)

    def run(self, *lengths):
        tokens, squares = sum(lengths), sum(length**2 for length in lengths)
        seconds = self.slower * self.seconds(tokens, squares) * self.source.lognormvariate(0, 0.06)
        self.now += seconds
        self.model.record(tokens, squares, seconds)

    def run_mixed(self, count):
        for _ in range(count):
            kind = self.source.random()
            if kind < 0.6:
                self.run(*[self.source.randint(8, 40) for _ in range(self.source.randint(1, 60))])
            elif kind < 0.85:
                self.run(self.source.randint(100, 512))
            else:
                self.run(self.source.choice([1000, 2048, 4096, 8192]))

    def errors(self):
        """How far estimates of single texts are off, by size."""
        return {size: self.model.seconds(size, size**2) / self.seconds(size, size**2) - 1 for size in SIZES}


def test_an_unmeasured_speed_is_taken_as_slow():
    assert LatencyModel().seconds(2000, 0.0) == pytest.approx(2000 / UNMEASURED, rel=0.05)
    assert not LatencyModel().measured


@pytest.mark.parametrize("width", [500, 2000, 8000])
@pytest.mark.parametrize(("start", "per_token"), [(0.002, 5e-5), (0.02, 3e-3), (0.004, 2e-6)])
def test_after_fifty_forwards_of_mixed_sizes_estimates_are_within_a_quarter(start, per_token, width):
    machine = Machine(start, per_token, width)
    machine.run_mixed(50)

    assert all(abs(error) < 0.25 for error in machine.errors().values()), machine.errors()


def test_a_long_text_takes_more_than_short_ones_of_as_many_tokens():
    machine = Machine()
    machine.run_mixed(50)

    assert machine.model.seconds(8192, 8192**2) > 3 * machine.model.seconds(8192, 32 * 8192)


def test_short_texts_alone_say_how_long_a_larger_batch_takes():
    machine = Machine()
    for _ in range(30):
        machine.run(20)
        machine.run(*[30] * 30)

    assert machine.model.seconds(4000, 30 * 4000) == pytest.approx(machine.seconds(4000, 30 * 4000), rel=0.25)


@given(st.lists(st.tuples(st.integers(1, 20_000), st.floats(1e-4, 100)), min_size=1, max_size=40))
def test_whatever_was_measured_estimates_are_positive_and_grow_with_the_tokens(samples):
    model = LatencyModel(lambda: 0.0)
    for tokens, seconds in samples:
        model.record(tokens, 32.0 * tokens, seconds)
    found = [model.seconds(tokens) for tokens in (1, 10, 100, 1000, 10_000)]

    assert found[0] > 0
    assert found == sorted(found)


def test_an_engine_that_became_slower_is_noticed():
    machine = Machine()
    machine.run_mixed(50)
    machine.slower = 3.0
    machine.run_mixed(15)

    assert machine.model.seconds(512, 512**2) == pytest.approx(3 * machine.seconds(512, 512**2), rel=0.3)


def test_one_forward_during_which_the_machine_stood_still_changes_little():
    machine = Machine()
    machine.run_mixed(50)
    before = machine.model.seconds(512, 512**2)
    machine.model.record(512, 512**2, 100.0)

    assert machine.model.seconds(512, 512**2) == pytest.approx(before, rel=0.15)


def test_what_a_slow_spell_taught_is_forgotten_when_it_is_old():
    machine = Machine()
    machine.run_mixed(50)
    machine.slower = 4.0
    end = machine.now + 60
    while machine.now < end:
        machine.run_mixed(10)
    assert machine.errors()[512] > 1.5
    machine.now += 11

    assert all(abs(error) < 0.3 for error in machine.errors().values()), machine.errors()


def test_short_probes_show_for_all_sizes_that_a_slow_spell_is_over():
    machine = Machine()
    machine.run(14)
    machine.run_mixed(50)
    machine.slower = 4.0
    machine.run_mixed(100)
    machine.slower = 1.0
    for _ in range(12):  # of an idle engine, one a second
        machine.now += 1
        machine.run(14)

    assert all(abs(error) < 0.3 for error in machine.errors().values()), machine.errors()


def test_a_machine_that_stays_slower_is_believed_in_the_end_also_after_a_rest():
    machine = Machine()
    machine.run_mixed(50)
    machine.slower = 2.0
    end = machine.now + 3600
    while machine.now < end:
        machine.run_mixed(20)
        machine.now += 5
    machine.now += 60

    assert machine.model.seconds(512, 512**2) == pytest.approx(2 * machine.seconds(512, 512**2), rel=0.3)


def test_tokens_within_a_time_take_that_time():
    machine = Machine()
    machine.run_mixed(50)

    assert machine.model.seconds(machine.model.tokens_within(0.08)) == pytest.approx(0.08)
    assert machine.model.tokens_within(0.0) == 0


def test_a_batch_is_large_enough_when_larger_ones_are_hardly_faster():
    machine = Machine(start=0.02, per_token=5e-5)
    machine.run_mixed(100)

    enough = machine.model.enough
    assert enough / machine.model.seconds(enough) == pytest.approx(0.95 / (5e-5 * (1 + 32 / 2000)), rel=0.25)


def test_a_small_batch_is_not_enough_however_fast_its_forward():
    machine = Machine(start=1e-6)
    machine.run_mixed(100)

    assert machine.model.enough == 1024


def test_a_version_that_never_ran_is_taken_to_be_like_the_last_one():
    latencies = Latencies()
    latencies.record(1, 100, 3200, 0.5)

    assert latencies.of(2) is latencies.of(1)
    assert not latencies.measured(2)


def test_versions_have_speeds_of_their_own():
    latencies = Latencies()
    latencies.record(1, 100, 3200, 0.5)
    latencies.record(2, 100, 3200, 0.1)

    assert latencies.of(1).seconds(100) == pytest.approx(0.5, rel=0.05)
    assert latencies.of(2).seconds(100) == pytest.approx(0.1, rel=0.05)


def test_versions_that_are_long_gone_are_forgotten():
    latencies = Latencies()
    for version in range(100):
        latencies.record(version, 100, 3200, 0.1)

    assert not latencies.measured(0)
    assert latencies.measured(99)


def test_tokens_per_second_are_those_of_full_batches():
    latencies = Latencies()
    assert latencies.tokens_per_second(4096) == 0
    for _ in range(10):
        latencies.record(1, 500, 16_000, 0.1)
        latencies.record(1, 5000, 160_000, 0.5)

    assert latencies.tokens_per_second(5000) == pytest.approx(10_000, rel=0.05)


def test_a_flow_fades_when_nothing_goes_by():
    flow = Flow(seconds=5.0)
    for tenth in range(1000):
        flow.add(100, tenth / 10)

    assert flow.rate(100.0) == pytest.approx(1000, rel=0.05)
    assert flow.rate(130.0) < 10
