"""Which texts share a forward."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.encoder import sequence_packing
from munjang.encoder.sequence_packing import SHARED_WIDTHS, Frame, Rows, arrange, computed, plan, round_up

LENGTHS = st.lists(st.integers(1, 600), max_size=200)
SENTENCES = st.lists(st.integers(4, 64), min_size=300, max_size=600)
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS, st.booleans())
def test_every_text_comes_exactly_once(lengths: list[int], budget: int, packs: bool) -> None:
    positions = [position for batch in plan(lengths, budget, packs=packs) for position in batch]
    assert sorted(positions) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS, st.booleans())
def test_the_plan_depends_on_nothing_else(lengths: list[int], budget: int, packs: bool) -> None:
    assert list(plan(lengths, budget, packs=packs)) == list(plan(tuple(lengths), budget, packs=packs))


@given(LENGTHS, BUDGETS)
def test_no_batch_is_over_the_budget_with_its_padding_unless_it_is_one_text(lengths: list[int], budget: int) -> None:
    for batch in plan(lengths, budget, packs=False):
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


@given(LENGTHS, BUDGETS)
def test_no_batch_of_rows_is_over_the_budget_unless_it_is_one_row(lengths: list[int], budget: int) -> None:
    for batch in plan(lengths, budget, packs=True):
        assert sum(lengths[position] for position in batch) <= max(budget, round_up(max(lengths)), SHARED_WIDTHS[-1])


@given(LENGTHS, BUDGETS)
def test_the_longest_texts_come_first(lengths: list[int], budget: int) -> None:
    planned = [lengths[position] for batch in plan(lengths, budget, packs=False) for position in batch]
    assert planned == sorted(lengths, reverse=True)


@given(LENGTHS, BUDGETS)
def test_the_longest_text_is_in_the_first_batch(lengths: list[int], budget: int) -> None:
    for batch in list(plan(lengths, budget, packs=True))[:1]:
        assert max(lengths[position] for position in batch) == max(lengths)


@given(LENGTHS, BUDGETS)
def test_a_batch_is_closed_only_when_the_next_text_does_not_fit(lengths: list[int], budget: int) -> None:
    batches = list(plan(lengths, budget, packs=False))
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget


@given(SENTENCES)
def test_batches_of_rows_that_the_whole_list_fills_have_little_padding(lengths: list[int]) -> None:
    batches = [[lengths[position] for position in batch] for batch in plan(lengths, 2048, packs=True)]

    assert sum(computed(batch, packs=True) for batch in batches) <= 1.06 * sum(lengths)


def test_long_and_short_texts_fill_rows_together() -> None:
    lengths = [60] * 32 + [4] * 32

    assert [sum(lengths[position] for position in batch) for batch in plan(lengths, 1024, packs=True)] == [1024, 1024]


def test_texts_of_like_length_share_a_batch_in_the_order_they_came() -> None:
    assert list(plan([3, 100, 3, 98, 3], 200, packs=False)) == [[1, 3], [0, 2, 4]]


def test_a_text_longer_than_the_budget_runs_alone() -> None:
    assert list(plan([5, 512, 5], 100, packs=False)) == [[1], [0, 2]]


def test_no_texts_are_no_batches() -> None:
    assert not list(plan([], 100, packs=False))
    assert not list(plan([], 100, packs=True))


def text_by_text(
    runs: list[tuple[int, list[int]]], short: list[int], lengths: list[int]
) -> tuple[list[Frame], list[int]]:
    """What `_filled` does, by the slow way of trying each text in each run."""
    frames = []
    for width, run in runs:
        rows = Rows(width)
        for position in run:
            rows.begin(position, lengths[position])
        short = [position for position in short if not rows.fit(position, lengths[position])]
        frames.append(rows.frame())
    return frames, short


@given(st.lists(st.one_of(st.integers(1, 64), st.integers(65, 8192)), min_size=1, max_size=300))
def test_short_texts_fill_rows_as_if_each_were_tried_in_each_run(lengths: list[int]) -> None:
    found = arrange(lengths, packs=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_packing, "_filled", text_by_text)
        assert found == arrange(lengths, packs=True)


@pytest.mark.parametrize("packs", [True, False])
def test_a_long_list_is_planned_in_few_steps_a_text(packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(1)  # noqa: S311 - lengths, no secrets
    lengths = [source.randint(1, 8192) if source.random() < 0.5 else source.randint(1, 64) for _ in range(100_000)]
    steps = Counter[str]()
    for name in ("fit", "begin"):
        method = getattr(Rows, name)

        def counted(rows: Rows, position: int, length: int, method: Any = method, name: str = name) -> Any:
            steps[name] += 1
            return method(rows, position, length)

        monkeypatch.setattr(Rows, name, counted)
    batches = list(plan(lengths, 16_384, packs=packs))

    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    assert steps.total() <= 20 * len(lengths)
