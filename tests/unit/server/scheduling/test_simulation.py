"""The issue's figures on a simulated clock: padding, overload, dead work, fairness, latency beside bulk."""

from __future__ import annotations

import random

import pytest

from munjang.encoder.sequence_packing import computed
from munjang.settings import BatchSettings
from munjang_server.scheduling.api import Lane
from tests.simulation import Call, Simulation

CPU = (0.002, 1 / 13_000)  # seconds to start a forward, seconds a token: two cores and the starter model
GPU = (0.004, 1 / 600_000)


def mixed(source):
    """90 % short texts, 10 % at the model's limit."""
    return source.randint(8, 32) if source.random() < 0.9 else 512


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def open_loop(engine, load, *, seconds, patience, texts=1):
    """Calls that come whether or not others are answered, at `load` times what full batches can do."""
    source = random.Random(7)  # noqa: S311 - simulated traffic
    simulation = Simulation(BatchSettings(), *engine)
    capacity = 4096 / simulation.seconds(4096)
    rate, now, calls = load * capacity / (texts * 69.2), 0.0, []
    while now < seconds:
        now += source.expovariate(rate)
        lengths = [mixed(source) for _ in range(texts)]
        calls.append(Call(now, lengths, f"부른이{source.randrange(20)}", patience=patience))
        simulation.add(calls[-1])
    simulation.run(seconds + patience + 1)
    useful = sum(sum(call.lengths) for call in calls if call.outcome == "answered") / seconds / capacity
    return simulation, calls, useful


def waste(simulation):
    whole = sum(computed(batch.lengths, packs=True) for batch in simulation.batches)
    return 1 - sum(batch.size for batch in simulation.batches) / whole


@pytest.mark.parametrize("load", [0.5, 0.9, 3.0])
def test_little_of_mixed_lengths_is_padding(load):
    simulation, _, _ = open_loop(CPU, load, seconds=15, patience=2.0)

    assert waste(simulation) <= 0.1


@pytest.mark.parametrize(("engine", "seconds", "patience"), [(CPU, 20, 1.0), (GPU, 2, 0.3)])
def test_three_times_the_capacity_leaves_the_useful_work_near_its_peak(engine, seconds, patience):
    _, _, peak = open_loop(engine, 1.0, seconds=seconds, patience=patience)

    _, calls, useful = open_loop(engine, 3.0, seconds=seconds, patience=patience)

    assert useful >= 0.9 * peak
    admitted = [call for call in calls if call.outcome != "refused"]
    assert sum(call.outcome == "answered" for call in admitted) >= 0.98 * len(admitted)


def test_calls_of_several_texts_are_not_left_half_done_under_overload():
    simulation, calls, useful = open_loop(CPU, 3.0, seconds=20, patience=3.0, texts=8)

    wasted = sum(batch.size for batch in simulation.batches) / 20 / 13_000 - useful
    assert wasted < 0.03
    assert {call.outcome for call in calls} <= {"answered", "refused", "expired"}


@pytest.mark.parametrize(("engine", "seconds", "patience"), [(CPU, 20, 1.0), (GPU, 2, 0.3)])
def test_hardly_any_work_is_done_for_callers_who_have_gone(engine, seconds, patience):
    simulation, _, _ = open_loop(engine, 3.0, seconds=seconds, patience=patience)

    assert simulation.dead_tokens < 0.01 * sum(batch.size for batch in simulation.batches)


def test_what_is_refused_is_refused_at_once():
    _, calls, _ = open_loop(CPU, 3.0, seconds=10, patience=1.0)

    assert any(call.outcome == "refused" for call in calls)
    assert all(call.latency == 0 for call in calls if call.outcome == "refused")


def test_below_the_capacity_nearly_nothing_is_refused():
    _, calls, _ = open_loop(CPU, 0.7, seconds=20, patience=2.0)

    assert sum(call.outcome == "answered" for call in calls) > 0.99 * len(calls)


def short_text(source):
    return source.randint(8, 32)


def beside(*, bulk, callers=8, streams=2):
    """The p99 of short calls in a closed loop, with or without two streams of such lengths that saturate the engine."""
    source = random.Random(3)  # noqa: S311 - simulated traffic
    latencies = []

    def ended(call):
        if call.lane is Lane.BULK:
            simulation.add(stream(call.ended))
        else:
            latencies.append(call.latency)
            simulation.add(short(call.ended + source.expovariate(20), call.caller))

    def short(at, caller):
        return Call(at, [source.randint(8, 32)], caller)

    def stream(at):
        return Call(at, [bulk(source) for _ in range(256)], "stream", Lane.BULK)

    simulation = Simulation(BatchSettings(), *CPU, streams=streams, on_end=ended)
    for number in range(callers):
        simulation.add(short(number / 100, f"부른이{number}"))
    for _ in range(2 if bulk else 0):
        simulation.add(stream(0.0))
    simulation.run(20)
    return percentile(latencies, 0.99), simulation


@pytest.mark.parametrize("callers", [1, 8])
@pytest.mark.parametrize("lengths", [short_text, mixed])
def test_short_calls_beside_a_saturating_stream_are_nearly_as_fast_as_alone(lengths, callers):
    alone, _ = beside(bulk=None, callers=callers)

    crowded, simulation = beside(bulk=lengths, callers=callers)

    assert crowded <= 3 * alone
    assert sum(batch.size for batch in simulation.batches if batch.lane is Lane.BULK) > 0


def test_with_one_stream_they_wait_for_the_long_texts_of_a_bulk_stream():
    whole, _ = beside(bulk=mixed, streams=1)

    beside_each_other, _ = beside(bulk=mixed)

    assert beside_each_other < 0.5 * whole


def test_short_calls_do_not_wait_for_a_text_of_8192_tokens_that_anybody_sends():
    """Nobody says that it is bulk: it is by what it costs. With all threads it takes 3.3 seconds."""
    source = random.Random(3)  # noqa: S311 - simulated traffic
    simulation = Simulation(BatchSettings(), *CPU, streams=2, width=2000)
    long = [Call(1 + number / 10, [8192], "긴", patience=120) for number in range(3)]
    short = [Call(number / 20, [source.randint(8, 32)], f"부른이{number % 8}", patience=1.0) for number in range(400)]
    for call in [*long, *short]:
        simulation.add(call)
    simulation.run(60)

    assert {call.outcome for call in long} <= {"answered", "refused"}
    assert any(call.outcome == "answered" for call in long)
    assert {call.outcome for call in short} == {"answered"}
    assert percentile([call.latency for call in short], 0.99) < 0.05


def test_bulk_keeps_its_share_under_interactive_calls_that_never_cease():
    simulation = Simulation(BatchSettings(), *CPU, streams=2)
    for number in range(4000):
        simulation.add(Call(number / 1000, [16], f"부른이{number % 7}"))
    stream = Call(0.1, [512] * 8, "stream", Lane.BULK)
    simulation.add(stream)
    simulation.run(4)

    assert stream.outcome == "answered"


def test_one_greedy_caller_does_not_slow_down_the_others():
    source = random.Random(5)  # noqa: S311 - simulated traffic
    simulation = Simulation(BatchSettings(), *CPU)
    for _ in range(100):
        simulation.add(Call(0.0, [source.randint(8, 32) for _ in range(50)], "욕심"))
    small = [Call(1 + number / 10, [source.randint(8, 32)], f"부른이{number % 5}") for number in range(100)]
    for call in small:
        simulation.add(call)
    simulation.run(60)

    assert percentile([call.latency for call in small], 0.99) < 0.4  # behind 100,000 tokens it would be 7 seconds
