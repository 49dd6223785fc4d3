"""What forms a batch, as properties of pure functions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.batching import policy
from server.batching.contract import Lane
from server.batching.policy import Limits


def by_class(lengths):
    kinds: dict[int, list[int]] = {}
    for length in lengths:
        kinds.setdefault(policy.length_class(length), []).append(length)
    return [kinds[kind] for kind in sorted(kinds)]


LENGTHS = st.integers(1, 8192)
SHELVES = (
    st.lists(LENGTHS, min_size=1, max_size=120)
    .map(by_class)
    .flatmap(lambda shelves: st.tuples(st.just(shelves), st.integers(0, len(shelves) - 1)))
)
LIMITS = st.builds(Limits, st.integers(1, 20_000), st.floats(0, 1), st.floats(0, 5000))


def _batch(shelves, counts):
    return [length for shelf, count in zip(shelves, counts, strict=True) for length in shelf[:count]]


def test_length_classes_leave_no_gap_and_no_class_is_wider_than_a_sixteenth():
    classes = [policy.length_class(length) for length in range(1, 20_000)]

    assert all(after - before in {0, 1} for before, after in pairwise(classes))
    for kind in set(classes):
        members = [length for length in range(1, 20_000) if classes[length - 1] == kind]
        assert members[-1] - members[0] <= members[0] / 16


@given(SHELVES, LIMITS)
def test_the_first_text_of_the_chosen_shelf_is_in_the_batch(chosen, limits):
    shelves, start = chosen

    assert policy.form(shelves, start, limits)[start] >= 1


@given(SHELVES, LIMITS)
def test_texts_are_taken_from_the_front_and_no_more_than_there_are(chosen, limits):
    shelves, start = chosen

    counts = policy.form(shelves, start, limits)

    assert len(counts) == len(shelves)
    assert all(0 <= count <= len(shelf) for count, shelf in zip(counts, shelves, strict=True))


@given(SHELVES, LIMITS)
def test_a_batch_of_two_or_more_keeps_the_budget(chosen, limits):
    shelves, start = chosen

    batch = _batch(shelves, policy.form(shelves, start, limits))

    assert len(batch) == 1 or len(batch) * max(batch) <= limits.budget


@given(SHELVES, LIMITS)
def test_padding_stays_within_its_share_or_under_the_cost_of_another_forward(chosen, limits):
    shelves, start = chosen

    batch = _batch(shelves, policy.form(shelves, start, limits))

    padded = len(batch) * max(batch)
    assert padded - sum(batch) <= max(limits.padding_share * padded, min(limits.overhead, limits.budget / 2)) + 1e-9


@given(SHELVES, st.integers(1, 20_000))
def test_no_text_is_left_that_would_fit_without_padding(chosen, budget):
    shelves, start = chosen

    counts = policy.form(shelves, start, Limits(budget, 0.0))

    width = shelves[start][0]
    equal = 0
    for length in shelves[start]:
        if length != width:
            break
        equal += 1
    assert counts[start] == max(1, min(equal, budget // width))


@given(st.lists(LENGTHS, min_size=1, max_size=60), st.integers(1, 20_000))
def test_with_no_limit_on_padding_everything_that_fits_runs_together(lengths, budget):
    shelves = by_class(lengths)

    batch = _batch(shelves, policy.form(shelves, len(shelves) - 1, Limits(budget, 1.0)))

    assert len(batch) == len(lengths) or (len(batch) + 1) * max(lengths) > budget


def test_the_shelves_are_read_no_further_than_the_batch_reaches():
    reads = []

    class Counting(list):
        def __iter__(self):
            for length in super().__iter__():
                reads.append(length)
                yield length

    shelves = [Counting([length] * 50_000) for length in range(8, 64)]

    counts = policy.form(shelves, 30, Limits(4096, 0.1))

    assert len(reads) <= sum(counts) + 8


@given(
    st.floats(0.05, 0.9),
    st.lists(st.tuples(st.integers(1, 4096), st.integers(1, 512)), min_size=1, max_size=50),
)
def test_bulk_gets_its_share_while_both_lanes_wait(share, sizes):
    owed, got = 0.0, {Lane.INTERACTIVE: 0, Lane.BULK: 0}
    while got[Lane.INTERACTIVE] < 100_000 and got[Lane.BULK] < 100_000:
        for interactive, bulk in sizes:
            lane = policy.next_lane(interactive=True, bulk=True, owed=owed, turn=512)
            padded = bulk if lane is Lane.BULK else interactive
            got[lane] += padded
            owed = policy.owed_after(owed, lane, padded, share, interactive_waits=True, bulk_waits=True)

    assert abs(got[Lane.BULK] / sum(got.values()) - share) < 0.05


def test_bulk_runs_whenever_no_interactive_call_waits():
    assert policy.next_lane(interactive=False, bulk=True, owed=-1e9, turn=512) is Lane.BULK


def test_an_interactive_call_goes_first_while_bulk_is_owed_less_than_a_turn():
    assert policy.next_lane(interactive=True, bulk=True, owed=511, turn=512) is Lane.INTERACTIVE
    assert policy.next_lane(interactive=True, bulk=True, owed=512, turn=512) is Lane.BULK


def test_what_bulk_gets_from_an_idle_engine_pays_back_but_makes_no_debt():
    after = policy.owed_after(100, Lane.BULK, 4096, 0.2, interactive_waits=False, bulk_waits=True)

    assert after == 0
    assert policy.owed_after(-50, Lane.BULK, 4096, 0.2, interactive_waits=False, bulk_waits=True) == -50


def test_nothing_is_owed_to_a_lane_where_nobody_waits():
    assert policy.owed_after(900, Lane.INTERACTIVE, 4096, 0.2, interactive_waits=True, bulk_waits=False) == 0


def test_a_bulk_share_of_one_or_none_is_taken_at_its_word():
    def owed(share):
        return policy.owed_after(0, Lane.INTERACTIVE, 16, share, interactive_waits=True, bulk_waits=True)

    assert policy.next_lane(interactive=True, bulk=True, owed=owed(1.0), turn=512) is Lane.BULK
    assert owed(0.0) == 0
