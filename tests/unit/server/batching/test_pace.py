"""The budget of a batch: less when memory ran out, gradually more again."""

from __future__ import annotations

from munjang.settings import BatchSettings
from munjang_server.batching.contract import Lane
from munjang_server.batching.pace import Budget, Pace
from munjang_server.batching.speed import SpeedMeter


def test_a_batch_that_did_not_fit_halves_the_budget():
    budget = Budget(4096)

    budget.shrink(4000)

    assert budget.now == 2000


def test_two_halves_that_do_not_fit_either_halve_it_once_more_only():
    budget = Budget(4096)
    for size in (4096, 2048, 2048):
        budget.shrink(size)

    assert budget.now == 1024


def test_the_budget_grows_back_to_the_setting_and_not_past_it():
    budget = Budget(4096)
    budget.shrink(4096)
    sizes = set()
    for _ in range(200):
        budget.grow(budget.now)
        sizes.add(budget.now)

    assert budget.now == 4096
    assert len(sizes) > 3


def test_small_batches_prove_nothing_about_memory():
    budget = Budget(4096)
    budget.shrink(4096)
    for _ in range(1000):
        budget.grow(16)

    assert budget.now == 2048


def test_batches_are_no_larger_than_pays_off_on_this_machine():
    speed = SpeedMeter()
    for size in (16, 512, 1200, 2048, 8192):
        speed.record(1, size, 0.003 + size / 20_000)
    pace = Pace(BatchSettings(batch_tokens=8192), speed)

    assert pace.turn(Lane.INTERACTIVE, 1, 0.0) == 1200


def test_beside_interactive_calls_a_bulk_batch_ends_within_its_turn():
    speed = SpeedMeter()
    for size in (16, 512, 1024, 4096):
        speed.record(1, size, 0.001 + size / 10_000)
    pace = Pace(BatchSettings(bulk_turn_seconds=0.02, bulk_yield_seconds=5), speed)
    pace.saw_interactive(100.0)

    assert speed.curve(1).seconds(pace.turn(Lane.BULK, 1, 104.0)) <= 0.02
    assert pace.turn(Lane.BULK, 1, 106.0) == pace.turn(Lane.INTERACTIVE, 1, 106.0)


def test_a_bulk_batch_that_pauses_may_be_as_much_longer():
    speed = SpeedMeter()
    for size in (16, 512, 1024, 4096):
        speed.record(1, size, 0.001 + size / 10_000)
    pace = Pace(BatchSettings(bulk_turn_seconds=0.01), speed)
    pace.saw_interactive(100.0)

    whole, paused = (pace.turn(Lane.BULK, 1, 101.0, parts) for parts in (1, 4))
    assert whole < 100
    assert 0.03 < speed.curve(1).seconds(paused) <= 0.04


def test_no_batch_makes_those_behind_it_wait_for_long():
    """However much faster a token long batches seem to be, as on a machine whose speed jumps."""
    speed = SpeedMeter()
    for size, seconds in ((256, 0.06), (1024, 0.2), (4096, 0.7)):
        speed.record(1, size, seconds)
    pace = Pace(BatchSettings(), speed)

    turn = pace.turn(Lane.INTERACTIVE, 1, 0.0)
    assert 0.07 < speed.curve(1).seconds(turn) <= 0.08
    assert pace.quantum == turn  # nor may a caller be further ahead of others
