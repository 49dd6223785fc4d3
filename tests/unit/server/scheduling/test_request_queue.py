"""What waits: nothing is lost or run twice, one batch has one version and lane, dead work is never taken."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from munjang.encoder.contract import Tokens
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling.api import Lane, Work
from munjang_server.scheduling.fair_queue import fitting
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Batch, Part, Request
from munjang_server.scheduling.request_queue import Lanes

LENGTHS = st.lists(st.integers(1, 8192), min_size=1, max_size=120)
ROOM = st.integers(0, 20_000)
UNBOUNDED = 1 << 30


class Lease:
    def __init__(self, version, streams):
        self.version = version
        self.encoder = FakeEncoder(streams=streams)


def request(lengths, *, caller="", lane=Lane.INTERACTIVE, version=1, deadline=None, now=0.0, streams=1):
    tokens = [Tokens((0,) * length) for length in lengths]
    return Request(Work(Lease(version, streams), tokens, caller, lane, deadline), None, now)


def queue(**options):
    settings, latencies = BatchSettings(**options), Latencies(lambda: 0.0)
    return Lanes(BatchLimits(settings, latencies), latencies, settings.bulk_share)


def running(*kinds):
    """Batches that run: each with its lane, its share and its tokens."""
    return [
        Batch(1, lane, [Part(request([size], lane=lane, streams=share), [0])], share=share)
        for lane, share, size in kinds
    ]


def texts(batch):
    return [(part.request, index) for part in batch.parts for index in part.indices]


def drained(line, now=0.0):
    batches = []
    while (batch := line.take(now)) is not None:
        batches.append(batch)
    return batches


class QueueMachine(RuleBasedStateMachine):
    """Adds, drops and takes in any order, beside a model that is a multiset of texts."""

    @initialize(budget=st.integers(1, 600), share=st.floats(0, 1))
    def begin(self, budget, share):
        self.budget = budget
        self.queue = queue(batch_tokens=budget, bulk_share=share)
        self.waiting: dict[Request, set[int]] = {}
        self.now = 100.0

    @rule(
        lengths=st.lists(st.integers(1, 300), min_size=1, max_size=12),
        caller=st.sampled_from("가나다"),
        lane=st.sampled_from(Lane),
        version=st.integers(1, 3),
        patience=st.none() | st.floats(-1, 50),
        streams=st.integers(1, 3),
    )
    def add(self, lengths, caller, lane, version, patience, streams):
        deadline = None if patience is None else self.now + patience
        added = request(
            lengths, caller=caller, lane=lane, version=version, deadline=deadline, now=self.now, streams=streams
        )
        self.queue.add(added)
        self.waiting[added] = set(range(len(lengths)))

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(position=st.integers(0, 1000))
    def drop(self, position):
        if self.waiting:
            gone = list(self.waiting)[position % len(self.waiting)]
            assert self.queue.drop(gone) == len(self.waiting.pop(gone))

    @rule(beside=st.lists(st.tuples(st.sampled_from(Lane), st.integers(1, 3), st.integers(1, 10_000)), max_size=3))
    def take(self, beside=()):
        startable = self.queue.startable(self.now, running(*beside))
        batch = self.queue.take(self.now, running(*beside))
        assert startable or batch is None
        for gone, count in self.queue.late:
            assert gone.work.deadline is not None
            assert count == len(self.waiting.pop(gone))
        self.queue.late.clear()
        if batch is None:
            assert beside or not self.waiting
            return
        assert {(member.version, member.lane) for member, _ in texts(batch)} == {(batch.version, batch.lane)}
        assert batch.texts == 1 or batch.size * batch.share <= self.budget
        for member, index in texts(batch):
            assert not member.expired(self.now)
            self.waiting[member].remove(index)
            if not self.waiting[member]:
                del self.waiting[member]

    @rule()
    def drain(self):
        while self.waiting:
            self.take()
        assert self.queue.take(self.now) is None

    @invariant()
    def counts_agree(self):
        if not hasattr(self, "queue"):
            return
        for lane, line in self.queue.lanes.items():
            mine = {gone: left for gone, left in self.waiting.items() if gone.lane is lane}
            assert line.texts == sum(map(len, mine.values()))
            assert line.tokens == sum(gone.lengths[index] for gone, left in mine.items() for index in left)
            by_caller = Counter()
            for gone, left in mine.items():
                by_caller[gone.work.caller] += sum(gone.lengths[index] for index in left)
            assert all(line.callers.tokens(name) == by_caller[name] for name in "가나다")


QueueMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_sequence_of_calls_loses_nothing_and_runs_nothing_twice = QueueMachine.TestCase


def test_texts_are_served_as_they_came_whatever_their_lengths():
    line = queue(batch_tokens=256)
    lengths = [20, 200, 20, 180, 20, 250, 8]
    for number, length in enumerate(lengths):
        line.add(request([length], caller=str(number)))

    assert [batch.lengths for batch in drained(line)] == [[20, 200, 20], [180, 20], [250], [8]]


def test_a_text_longer_than_the_budget_runs_alone():
    line = queue(batch_tokens=64)
    line.add(request([100, 100, 10]))

    assert [batch.lengths for batch in drained(line)] == [[100], [100], [10]]


def test_versions_never_mix():
    line = queue()
    for version in (1, 2, 1, 2):
        line.add(request([10], version=version))

    assert [(batch.version, batch.texts) for batch in drained(line)] == [(1, 2), (2, 2)]


def test_expired_texts_are_not_taken_but_handed_over():
    line = queue()
    late, good = request([10, 200], deadline=5.0), request([10], deadline=500.0)
    line.add(late)
    line.add(good)

    batches = drained(line, now=6.0)

    assert [texts(batch) for batch in batches] == [[(good, 0)]]
    assert line.late == [(late, 2)]


def test_what_would_end_after_its_deadline_is_not_begun():
    line = queue()
    line.add(request([200], deadline=0.01))

    assert line.take(0.0) is None
    assert len(line.late) == 1


def test_enough_for_several_forwards_is_divided_evenly():
    line = queue()
    line.add(request([50] * 30, streams=2))
    first = line.take(0.0)
    second = line.take(0.0, [first])

    assert [(batch.size, batch.share) for batch in (first, second)] == [(750, 2), (750, 2)]


def test_less_than_enough_for_all_has_all_threads():
    line = queue()
    line.add(request([50] * 20, streams=2))

    assert [(batch.size, batch.share) for batch in drained(line)] == [(1000, 1)]


def test_what_would_end_after_its_deadline_beside_others_is_not_begun_there():
    line = queue()
    line.add(request([600], deadline=0.4, streams=2))  # 0.3 s with all threads, 0.6 s with half of them
    assert line.take(0.0, running((Lane.INTERACTIVE, 2, 10))) is None
    assert len(line.late) == 1

    line.add(request([600], deadline=0.4, streams=2))
    assert line.take(0.0).size == 600


SHORT, LONG = 10, 8192


@pytest.mark.parametrize(
    ("beside", "few", "many", "bulk"),
    [
        ([], 1, 2, 1),
        ([(Lane.INTERACTIVE, 1, SHORT)], None, 2, None),
        ([(Lane.INTERACTIVE, 2, SHORT)], None, 2, 2),
        ([(Lane.BULK, 2, SHORT)], 2, 2, None),
        ([(Lane.BULK, 1, SHORT)], None, None, None),
        ([(Lane.BULK, 1, LONG)], 2, 2, None),
        ([(Lane.BULK, 2, LONG), (Lane.INTERACTIVE, 2, SHORT)], None, None, None),
    ],
)
def test_what_runs_beside_what_and_on_how_much(beside, few, many, bulk):
    """Of a model with two streams: None for what waits, 1 for all threads, 2 for one of two streams."""

    def share(lane, lengths):
        line = queue(bulk_yield_seconds=0)
        line.add(request(lengths, lane=lane, streams=2))
        batch = line.take(0.0, running(*beside))
        return batch and batch.share

    assert share(Lane.INTERACTIVE, [10]) == few
    assert share(Lane.INTERACTIVE, [50] * 30) == many
    assert share(Lane.BULK, [50] * 30) == bulk


def test_one_stream_stays_free_for_calls_while_they_are_about():
    line = queue()
    line.add(request([10], streams=4))
    line.take(0.0)
    line.add(request([50] * 4000, lane=Lane.BULK, streams=4))
    ran = []
    while (batch := line.take(1.0, ran)) is not None:
        ran.append(batch)

    assert [batch.share for batch in ran] == [4, 4, 4]
    line.add(request([10], streams=4))
    assert line.take(1.0, ran).lane is Lane.INTERACTIVE


def test_a_lone_long_text_has_all_threads():
    line = queue(bulk_yield_seconds=0)
    line.add(request([8192], lane=Lane.BULK, streams=4))

    assert line.take(0.0).share == 1


def test_an_interactive_call_goes_before_bulk_that_came_first():
    line = queue()
    line.add(request([10] * 100, lane=Lane.BULK))
    line.add(request([10]))

    assert [batch.lane for batch in drained(line)][:2] == [Lane.INTERACTIVE, Lane.BULK]


def test_bulk_batches_are_short_while_interactive_calls_are_about():
    line = queue(bulk_turn_seconds=0.05, bulk_yield_seconds=30)
    line.add(request([10] * 1000, lane=Lane.BULK))
    assert line.take(0.0).size > 4000
    line.add(request([10], now=1.0))
    line.take(1.0)

    assert line.take(1.0).size <= 100  # 0.05 s at the 2,000 tokens a second that are assumed at first
    assert line.take(32.0).size > 4000


def test_bulk_runs_whenever_no_interactive_call_waits():
    line = queue()
    line.add(request([10], lane=Lane.BULK))

    assert line.take(0.0).lane is Lane.BULK


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6, 0.9])
def test_bulk_gets_its_share_of_batches_of_any_size(share):
    line = queue(bulk_share=share, batch_tokens=512)
    source, got = random.Random(1), Counter()  # noqa: S311 - simulated traffic
    for _ in range(3000):
        for lane in Lane:
            while line.lanes[lane].texts < 100:
                line.add(request([source.randint(1, 512) for _ in range(100)], lane=lane))
        batch = line.take(0.0)
        got[batch.lane] += batch.size

    assert got[Lane.BULK] / got.total() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(("share", "lane"), [(0.0, Lane.INTERACTIVE), (1.0, Lane.BULK)])
def test_a_bulk_share_of_one_or_none_is_taken_at_its_word(share, lane):
    line = queue(bulk_share=share, batch_tokens=64)
    line.add(request([16] * 4000, lane=Lane.BULK))
    line.add(request([16] * 4000))
    line.take(0.0)

    assert {line.take(0.0).lane for _ in range(100)} == {lane}


def test_what_bulk_gets_from_an_idle_engine_makes_no_debt():
    """After it had the engine alone for long, its next share under calls is no smaller."""
    line = queue(bulk_share=0.25, batch_tokens=256)
    line.add(request([16] * 40_000, lane=Lane.BULK))
    for _ in range(100):
        line.take(0.0)
    got = Counter()
    for _ in range(40):
        line.add(request([16] * 100))
        batch = line.take(0.0)
        got[batch.lane] += 1

    assert got[Lane.BULK] >= 5


def test_nothing_is_owed_to_a_lane_where_nobody_waited():
    line = queue(bulk_share=0.5, batch_tokens=256)
    line.add(request([16] * 4000))
    for _ in range(100):
        line.take(0.0)
    line.add(request([16] * 100, lane=Lane.BULK))

    assert line.take(0.0).lane is Lane.INTERACTIVE


def test_bulk_keeps_its_share_under_endless_interactive_calls():
    line = queue(bulk_share=0.25, batch_tokens=256)
    line.add(request([16] * 4000, lane=Lane.BULK))
    got = Counter()
    for _ in range(600):
        if line.lanes[Lane.INTERACTIVE].texts < 100:
            line.add(request([16] * 100))
        batch = line.take(0.0)
        got[batch.lane] += batch.size

    assert got[Lane.BULK] / got.total() == pytest.approx(0.25, abs=0.03)


def test_callers_who_leave_cost_no_memory():
    line = queue()
    keep = request([64])
    line.add(keep)
    for number in range(20_000):
        gone = request([64], caller=str(number))
        line.add(gone)
        line.drop(gone)

    callers = line.lanes[Lane.INTERACTIVE].callers
    assert len(callers._waiting) == 1
    assert [list(requests) for requests in callers._waiting[""].lines.values()] == [[keep]]
    assert len(callers._absent) < 3000


def test_forming_a_batch_looks_at_little_of_a_long_queue(monkeypatch):
    looked = Counter()
    expired = Request.expired

    def counting(self, when):
        looked["requests"] += 1
        return expired(self, when)

    line = queue(batch_tokens=512)
    for number in range(50_000):
        line.add(request([8 + number % 120], caller=f"부른이{number % 20}"))
    monkeypatch.setattr(Request, "expired", counting)
    ran = 0
    for _ in range(100):
        batch = line.take(0.0)
        ran += batch.texts

    assert looked["requests"] <= 3 * ran + 100 * (20 + 4)  # its texts, and the callers' fronts


def test_a_request_that_does_not_fit_is_begun_in_one_batch_and_ended_in_the_next():
    line = queue(batch_tokens=100)
    line.add(request([30]))
    line.add(request([30, 30, 30], caller="나"))

    assert [batch.lengths for batch in drained(line)] == [[30, 30, 30], [30]]


def test_no_caller_fills_a_batch_while_another_waits_who_had_less():
    line = queue(batch_tokens=100)
    for _ in range(40):
        line.add(request([10] * 10, caller="욕심"))
    for _ in range(10):
        line.take(0.0)
    for number in range(5):
        line.add(request([10], caller=f"작은{number}"))

    callers = Counter(part.request.work.caller for _ in range(2) for part in line.take(0.0).parts)
    assert len(callers) == 6


@given(LENGTHS, st.integers(0, 119), ROOM)
def test_what_is_taken_fits_and_one_more_text_would_not(lengths, first, room):
    first %= len(lengths)
    texts = fitting(lengths, first, room, UNBOUNDED, alone=False)

    assert sum(lengths[first : first + texts]) <= room
    assert first + texts == len(lengths) or sum(lengths[first : first + texts + 1]) > room


@given(LENGTHS, ROOM)
def test_an_empty_batch_takes_one_text_however_long(lengths, room):
    texts = fitting(lengths, 0, room, UNBOUNDED, alone=False)

    assert fitting(lengths, 0, room, UNBOUNDED, alone=True) == max(1, texts)


@given(LENGTHS, ROOM, ROOM)
def test_past_a_first_text_no_more_than_the_share_is_taken(lengths, room, share):
    texts = fitting(lengths, 0, room, share, alone=False)

    assert texts <= 1 or sum(lengths[:texts]) <= share
    assert (texts == 0) == (lengths[0] > room)
