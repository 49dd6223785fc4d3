"""The size of a batch: less when memory ran out, no more than pays off, and not too long for those behind it."""

from __future__ import annotations

import pytest

from munjang.settings import BatchSettings
from munjang_server.scheduling.api import Lane
from munjang_server.scheduling.latency_model import BatchLimits, Latencies, TokenBudget


def test_a_batch_that_did_not_fit_halves_the_budget():
    budget = TokenBudget(4096)

    budget.shrink(4000)

    assert budget.now == 2000


def test_two_halves_that_do_not_fit_either_halve_it_once_more_only():
    budget = TokenBudget(4096)
    for size in (4096, 2048, 2048):
        budget.shrink(size)

    assert budget.now == 1024


def test_the_budget_grows_back_to_the_setting_and_not_past_it():
    budget = TokenBudget(4096)
    budget.shrink(4096)
    sizes = set()
    for _ in range(200):
        budget.grow(budget.now)
        sizes.add(budget.now)

    assert budget.now == 4096
    assert len(sizes) > 3


def test_small_batches_prove_nothing_about_memory():
    budget = TokenBudget(4096)
    budget.shrink(4096)
    for _ in range(1000):
        budget.grow(16)

    assert budget.now == 2048


def limits(start, per_token, **settings):
    """Of a model that was measured in batches of short texts."""
    latencies = Latencies(lambda: 0.0)
    for size in (16, 64, 256, 512, 1024, 2048) * 20:
        latencies.record(1, size, 32 * size, start + per_token * size)
    return BatchLimits(BatchSettings(**settings), latencies), latencies.of(1)


def test_batches_are_no_larger_than_pays_off_on_this_machine():
    """95 % of the most tokens a second: 19 times what the start costs, 1,140 tokens."""
    made, _ = limits(0.003, 1 / 20_000, batch_tokens=8192)

    assert made.tokens(Lane.INTERACTIVE, 1, 0.0) == pytest.approx(1140, rel=0.1)


def test_where_few_forwards_run_beside_each_other_bulk_is_short_for_the_calls_that_wait_for_it():
    made, model = limits(0.001, 1 / 10_000, bulk_turn_seconds=0.02, bulk_yield_seconds=5)
    made.saw_interactive(100.0)

    assert model.seconds(made.tokens(Lane.BULK, 1, 104.0)) <= 0.02
    assert made.tokens(Lane.BULK, 1, 106.0) == made.tokens(Lane.INTERACTIVE, 1, 106.0)
    assert made.tokens(Lane.BULK, 1, 104.0, streams=2) == made.tokens(Lane.INTERACTIVE, 1, 104.0)


def test_no_batch_makes_those_behind_it_wait_for_long():
    made, model = limits(0.01, 1 / 6000)

    batch = made.tokens(Lane.INTERACTIVE, 1, 0.0)
    assert 0.07 < model.seconds(batch) <= 0.08
    assert made.quantum == batch  # nor may a caller be further ahead of others


def test_forwards_beside_each_other_together_take_as_long():
    made, model = limits(0.001, 1 / 10_000)

    share = made.tokens(Lane.INTERACTIVE, 1, 0.0, streams=2, share=2)
    assert 0.07 < model.seconds(2 * share) <= 0.08


def test_a_slow_model_still_has_batches_of_some_texts():
    made, _ = limits(0.1, 0.01)

    assert made.tokens(Lane.INTERACTIVE, 1, 0.0) == 256
