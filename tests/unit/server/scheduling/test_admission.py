"""Who may wait: room, time and fairness at the door."""

from __future__ import annotations

import pytest

from munjang.encoder.contract import Tokens
from munjang.errors import DeadlineUnreachable, Overloaded
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling.admission import Admission
from munjang_server.scheduling.api import Lane, Work
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.request_queue import Lanes


class Lease:
    version = 1

    def __init__(self, streams):
        self.encoder = FakeEncoder(streams=streams)


class Door:
    """Queue and admission of an engine that does 1,000 tokens a second, in batches of 100."""

    def __init__(self, *, streams=1, **settings):
        made = BatchSettings(**({"queue_tokens": 10_000, "batch_tokens": 100} | settings))
        self.latencies = Latencies(lambda: 0.0)
        for size in (1, 100, 400) * 20:
            self.latencies.record(1, size, 32 * size, 0.02 + size * 0.0008)
        limits = BatchLimits(made, self.latencies)
        self.queue = Lanes(limits, self.latencies, made.bulk_share)
        self.admission = Admission(made, self.latencies, limits)
        self.lease = Lease(streams)

    def request(self, lengths, caller="", lane=Lane.INTERACTIVE, within=None, now=0.0):
        deadline = None if within is None else now + within
        return Request(
            Work(self.lease, [Tokens((0,) * length) for length in lengths], caller, lane, deadline), None, now
        )

    def call(self, *lengths, caller="", lane=Lane.INTERACTIVE, within=None, busy=0.0, now=0.0):
        request = self.request(lengths, caller, lane, within, now)
        self.admission.check(request, self.queue, busy, now)
        self.queue.add(request)
        return request

    def check_hopeless(self, *lengths, lane=Lane.INTERACTIVE, within=None, now=0.0):
        """Look at a call of which no more is known than that it has so many tokens at least."""
        self.admission.check(self.request(lengths, "", lane, within, now), self.queue, 0.0, now, at_least=True)

    def fill(self, caller=""):
        before = self.queue.tokens
        with pytest.raises(Overloaded):
            self.call_on(caller=caller)
        return self.queue.tokens - before

    def call_on(self, **options):
        while True:
            self.call(100, **options)


def test_the_queue_is_bounded_by_tokens():
    door = Door()
    for number in range(200):
        door.fill(caller=str(number))

    assert 9_000 < door.queue.tokens <= 10_000


def test_one_caller_gets_half_of_the_queue_and_leaves_room_for_others():
    door = Door()

    assert door.fill(caller="욕심") == 5_000
    assert door.fill(caller="둘째") == 2_500
    door.call(100, caller="작은")


def test_what_is_refused_leaves_nothing_behind():
    door = Door()
    door.fill()
    before = door.queue.tokens
    with pytest.raises(Overloaded):
        door.call(*[100] * 20)

    assert door.queue.tokens == before


def test_a_full_queue_says_when_there_will_be_room():
    door = Door()
    door.fill()
    with pytest.raises(Overloaded, match="try again in") as refused:
        door.call(*[100] * 10)

    assert refused.value.retry_after == pytest.approx(1.0, rel=0.2)


def test_a_request_larger_than_the_queue_is_admitted_when_little_waits():
    door = Door()
    door.call(100, caller="하나")

    door.call(*[100] * 200, caller="큰")


def test_bulk_does_not_take_an_interactive_callers_room():
    door = Door()
    with pytest.raises(Overloaded):
        door.call_on(lane=Lane.BULK)

    door.call(100)


def test_a_deadline_that_the_queue_alone_passes_is_refused_at_once():
    door = Door()
    for number in range(30):
        door.call(100, caller=str(number))
    with pytest.raises(DeadlineUnreachable, match=r"the deadline is in 2\.00 s") as refused:
        door.call(100, within=2.0)

    assert refused.value.retry_after == pytest.approx(1.7, abs=0.3)
    door.call(100, within=5.0)


def test_a_deadline_that_can_be_met_is_admitted():
    door = Door()

    door.call(100, within=0.13)


def test_the_forward_that_runs_counts():
    door = Door()
    with pytest.raises(DeadlineUnreachable):
        door.call(100, within=0.5, busy=0.45)


def test_an_idle_engine_is_not_asked_for_a_full_batch():
    door = Door()

    door.call(10, within=0.035)


def test_another_callers_long_queue_does_not_count_for_who_is_served_before():
    door = Door()
    door.call(*[100] * 40, caller="욕심")

    door.call(100, caller="작은", within=1.0)


def test_interactive_calls_before_a_bulk_call_count():
    door = Door()
    for number in range(20):
        door.call(100, caller=str(number))
    with pytest.raises(DeadlineUnreachable):
        door.call(100, lane=Lane.BULK, within=1.5)


def test_bulk_calls_before_an_interactive_call_count_only_by_their_share():
    door = Door(bulk_share=0.5)
    for number in range(20):
        door.call(100, caller=str(number), lane=Lane.BULK)

    door.call(100, within=0.5)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, within=0.15)


def test_before_the_first_measurement_little_is_promised():
    door = Door()
    latencies = Latencies()
    door.admission = Admission(BatchSettings(), latencies, BatchLimits(BatchSettings(), latencies))

    door.call(100, within=0.1)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, within=0.04)


def test_what_a_slow_spell_taught_is_forgotten_by_itself():
    """Nobody with less time would ever show that the machine is fast again."""
    now = [0.0]
    door = Door()
    door.latencies = Latencies(lambda: now[0])
    for _ in range(50):
        door.latencies.record(1, 100, 3200, 0.1)
        now[0] += 0.1
    for _ in range(30):
        door.latencies.record(1, 100, 3200, 1.0)
        now[0] += 1.0
    limits = BatchLimits(BatchSettings(), door.latencies)
    door.admission = Admission(BatchSettings(), door.latencies, limits)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, within=0.3)

    now[0] += 11.0
    door.call(100, within=0.3)


def test_a_long_text_is_expected_to_take_more_than_its_tokens_in_short_ones():
    door = Door()
    for _ in range(20):
        door.latencies.record(1, 4096, 4096**2, 20.0)  # short texts of so many tokens take 3.3 seconds
    within = 10.0

    door.call(*[32] * 128, within=within)
    with pytest.raises(DeadlineUnreachable):
        Door.call(door, 4096, caller="다른", within=within)


def test_what_takes_long_is_bulk_however_few_its_texts():
    door = Door(interactive_seconds=0.25)

    assert door.admission.lane(door.request([100])) is Lane.INTERACTIVE
    assert door.admission.lane(door.request([20] * 10)) is Lane.INTERACTIVE
    assert door.admission.lane(door.request([400])) is Lane.BULK
    assert door.admission.lane(door.request([20] * 20)) is Lane.BULK


def test_a_question_is_interactive_however_slow_the_model():
    door = Door(interactive_seconds=0.001)

    assert door.admission.lane(door.request([30])) is Lane.INTERACTIVE
    assert door.admission.lane(door.request([30], lane=Lane.BULK)) is Lane.BULK


def test_bulk_beside_calls_that_may_come_has_all_streams_but_one():
    door = Door(streams=2)
    door.call(100, lane=Lane.BULK, within=0.19, caller="먼저")
    door = Door(streams=2)
    door.call(10, caller="부름")
    door.queue.take(0.0)

    with pytest.raises(DeadlineUnreachable):
        door.call(100, lane=Lane.BULK, within=0.19)
    door.call(100, lane=Lane.BULK, within=0.3)


def test_a_list_that_would_be_refused_however_short_its_texts_are_is_hopeless():
    door = Door()
    with pytest.raises(DeadlineUnreachable, match="at least 50 tokens would take"):
        door.check_hopeless(*[1] * 50, within=0.06)
    door.check_hopeless(*[1] * 50, within=0.12)
    for number in range(10):
        door.call(100, caller=str(number))
    with pytest.raises(DeadlineUnreachable):
        door.check_hopeless(*[1] * 50, within=0.12)


def test_a_list_for_which_the_queue_has_no_room_is_hopeless():
    door = Door()
    for number in range(200):
        door.fill(caller=str(number))
    with pytest.raises(Overloaded, match="no room for at least 50 tokens"):
        door.check_hopeless(*[50])
