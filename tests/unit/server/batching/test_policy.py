"""What forms a batch, as properties of pure functions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from munjang_server.batching import policy
from munjang_server.batching.contract import Lane

LENGTHS = st.lists(st.integers(1, 8192), min_size=1, max_size=120)


ROOM = st.integers(0, 20_000)


def fitting(lengths, first, room, share=1 << 30, *, alone=False):
    return policy.fitting(lengths, first, room, share, alone=alone)


@given(LENGTHS, st.integers(0, 119), ROOM)
def test_what_is_taken_fits_and_one_more_text_would_not(lengths, first, room):
    first %= len(lengths)
    texts = fitting(lengths, first, room)

    assert sum(lengths[first : first + texts]) <= room
    assert first + texts == len(lengths) or sum(lengths[first : first + texts + 1]) > room


@given(LENGTHS, ROOM)
def test_an_empty_batch_takes_one_text_however_long(lengths, room):
    assert fitting(lengths, 0, room, alone=True) == max(1, fitting(lengths, 0, room))


@given(LENGTHS, ROOM, ROOM)
def test_past_a_first_text_no_more_than_the_share_is_taken(lengths, room, share):
    texts = fitting(lengths, 0, room, share)

    assert texts <= 1 or sum(lengths[:texts]) <= share
    assert (texts == 0) == (lengths[0] > room)


@given(
    st.floats(0.05, 0.9),
    st.lists(st.tuples(st.integers(1, 4096), st.integers(1, 512)), min_size=1, max_size=50),
)
def test_bulk_gets_its_share_while_both_lanes_wait(share, sizes):
    owed, got = 0.0, {Lane.INTERACTIVE: 0, Lane.BULK: 0}
    while got[Lane.INTERACTIVE] < 100_000 and got[Lane.BULK] < 100_000:
        for interactive, bulk in sizes:
            lane = policy.next_lane(interactive=True, bulk=True, owed=owed, turn=512)
            tokens = bulk if lane is Lane.BULK else interactive
            got[lane] += tokens
            owed = policy.owed_after(owed, lane, tokens, share, interactive_waits=True, bulk_waits=True)

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
