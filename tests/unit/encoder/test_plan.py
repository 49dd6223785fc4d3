"""Which texts share a forward."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from munjang.encoder.plan import plan

LENGTHS = st.lists(st.integers(1, 600), max_size=200)
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS)
def test_every_text_comes_exactly_once(lengths: list[int], budget: int) -> None:
    positions = [position for batch in plan(lengths, budget) for position in batch]
    assert sorted(positions) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_no_batch_is_over_the_budget_with_its_padding_unless_it_is_one_text(lengths: list[int], budget: int) -> None:
    for batch in plan(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


@given(LENGTHS, BUDGETS)
def test_the_longest_texts_come_first(lengths: list[int], budget: int) -> None:
    planned = [lengths[position] for batch in plan(lengths, budget) for position in batch]
    assert planned == sorted(lengths, reverse=True)


@given(LENGTHS, BUDGETS)
def test_a_batch_is_closed_only_when_the_next_text_does_not_fit(lengths: list[int], budget: int) -> None:
    batches = list(plan(lengths, budget))
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget


@given(LENGTHS, BUDGETS)
def test_the_plan_depends_on_nothing_else(lengths: list[int], budget: int) -> None:
    assert list(plan(lengths, budget)) == list(plan(tuple(lengths), budget))


def test_texts_of_like_length_share_a_batch_in_the_order_they_came() -> None:
    assert list(plan([3, 100, 3, 98, 3], 200)) == [[1, 3], [0, 2, 4]]


def test_a_text_longer_than_the_budget_runs_alone() -> None:
    assert list(plan([5, 512, 5], 100)) == [[1], [0, 2]]


def test_no_texts_are_no_batches() -> None:
    assert list(plan([], 100)) == []
