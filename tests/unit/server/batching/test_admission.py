"""Who may wait: room, time and fairness at the door."""

from __future__ import annotations

import dataclasses

import pytest

from munjang.encoder.contract import Tokens
from munjang.errors import DeadlineUnreachable, Overloaded
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.batching.admission import Admission
from munjang_server.batching.contract import Lane, Work
from munjang_server.batching.pace import Pace
from munjang_server.batching.queue import Queue
from munjang_server.batching.request import Request
from munjang_server.batching.speed import SpeedMeter


class Lease:
    encoder = FakeEncoder()
    version = 1


class Door:
    """Queue and admission of an engine that does 1,000 tokens a second, in batches of 100."""

    def __init__(self, **settings):
        made = BatchSettings(**({"queue_tokens": 10_000, "batch_tokens": 100} | settings))
        self.speed = SpeedMeter()
        for size in (1, 100):
            self.speed.record(1, size, 0.02 + size * 0.0008)
        pace = Pace(made, self.speed)
        self.queue = Queue(pace, made.bulk_share)
        self.admission = Admission(made, self.speed, pace)

    def call(self, *lengths, caller="", lane=Lane.INTERACTIVE, within=None, busy=0.0, now=0.0, trial=False):
        work = self.work(lengths, caller, lane, None if within is None else now + within)
        request = Request(dataclasses.replace(work, trial=trial), None, now)
        self.admission.check(request, self.queue, busy, now)
        self.queue.add(request)
        return request

    def foresee(self, *lengths, lane=Lane.INTERACTIVE, within=None, now=0.0):
        """Look at a call of which no more is known than that it has so many tokens at least; whether it is a trial."""
        request = Request(self.work(lengths, "", lane, None if within is None else now + within), None, now)
        self.admission.check(request, self.queue, 0.0, now, least=True)
        return request.trial

    def work(self, lengths, caller, lane, deadline):
        return Work(Lease(), [Tokens((0,) * length) for length in lengths], caller, lane, deadline)

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

    assert refused.value.retry_after == pytest.approx(1.2, abs=0.3)
    door.call(100, within=4.0)


def test_a_deadline_that_can_be_met_is_admitted():
    door = Door()

    door.call(100, within=0.12)


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
    door.admission = Admission(BatchSettings(), SpeedMeter(), Pace(BatchSettings(), SpeedMeter()))

    door.call(100, within=0.1)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, within=0.04)


def test_estimates_that_prove_too_short_are_made_longer():
    door = Door()
    for number in range(10):
        waited = door.call(100, caller=str(number), within=2.0)
    door.call(100, caller="먼저", within=1.3)
    for _ in range(10):
        door.admission.learn(waited, 2 * waited.estimate)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, caller="나중", within=1.4)


def test_estimates_that_hold_again_are_believed_again():
    door = Door()
    for number in range(10):
        waited = door.call(100, caller=str(number), within=2.0)
    for _ in range(10):
        door.admission.learn(waited, 2 * waited.estimate)
    for _ in range(2000):
        door.admission.learn(waited, 0.5 * waited.estimate)

    door.call(100, caller="나중", within=1.3)


def test_what_caution_lets_in_still_teaches():
    """Else the most cautious estimates would stay so for ever, since only calls with little before them are let in."""
    door = Door()
    for number in range(10):
        waited = door.call(100, caller=str(number), within=2.0)
    for _ in range(100):
        door.admission.learn(waited, 10 * waited.estimate)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, caller="나중", within=1.7)
    waited.estimate = 0.2 * 2.0
    for _ in range(2000):
        door.admission.learn(waited, 0.5 * waited.estimate)

    door.call(100, caller="나중", within=1.7)


def test_caution_is_given_up_when_nobody_shows_any_more_whether_it_is_needed():
    """What it makes refused would not, and after the flood nobody else may wait so long."""
    door = Door()
    for number in range(10):
        waited = door.call(100, caller=str(number), within=2.0)
    for _ in range(100):
        door.admission.learn(waited, 2.0)
    with pytest.raises(DeadlineUnreachable):
        door.call(100, caller="나중", within=1.7, now=6.9)

    door.call(100, caller="나중", within=1.7, now=7.1)


def test_calls_that_did_not_wait_teach_nothing():
    door = Door()
    quick = door.call(10, within=1.0)
    for _ in range(100):
        door.admission.learn(quick, 60.0)

    door.call(10, caller="나중", within=0.2)


def refused(door, until, step=0.1, **options):
    """Call every `step` seconds and be refused; the time of the first call that is let in, None if none is."""
    now = 0.0
    while now < until:
        try:
            door.call(100, now=now, **options)
        except DeadlineUnreachable:
            now += step
        else:
            return now
    return None


def test_what_a_slow_spell_taught_is_doubted_after_refusals_on_end():
    """The forwards of 100 tokens are held to take a second; nobody with less time would ever show otherwise."""
    door = Door()
    for _ in range(100):
        door.speed.record(1, 100, 1.0)

    assert refused(door, 60, within=0.3) == pytest.approx(20 * 0.3, abs=0.2)
    door.speed.record(1, 100, 0.1)
    door.call(100, within=0.3, now=7.0)


def test_a_try_runs_though_it_is_expected_to_be_late():
    door = Door()
    for _ in range(100):
        door.speed.record(1, 100, 1.0)
    now = refused(door, 60, within=0.3)

    batch = door.queue.take(now)
    assert batch.texts == 1
    assert not door.queue.late


def test_tries_wait_a_second_at_least_and_half_a_minute_at_most():
    door = Door()
    assert refused(door, 60, step=0.01, within=0.001) == pytest.approx(1.0, abs=0.02)
    door = Door()
    for _ in range(100):
        door.speed.record(1, 100, 100.0)
    assert refused(door, 60, within=10.0) == pytest.approx(30.0, abs=0.2)


def test_a_size_that_is_admitted_now_and_then_is_not_doubted():
    door = Door()
    for now in range(60):
        with pytest.raises(DeadlineUnreachable):
            door.call(100, within=0.05, now=float(now))
        door.call(100, within=1.0, now=now + 0.5)
        door.queue.take(now + 0.5)


def test_what_only_the_queue_makes_late_is_refused_however_long():
    door = Door()
    for number in range(10):
        door.call(100, caller=str(number))
    for now in range(60):
        with pytest.raises(DeadlineUnreachable):
            door.call(100, caller="나중", within=0.5, now=float(now))


def test_what_would_be_refused_however_short_is_foreseen():
    door = Door()
    with pytest.raises(DeadlineUnreachable, match="at least 50 tokens would take"):
        door.foresee(*[1] * 50, within=0.06)
    assert not door.foresee(*[1] * 50, within=0.12)
    for number in range(10):
        door.call(100, caller=str(number))
    with pytest.raises(DeadlineUnreachable):
        door.foresee(*[1] * 50, within=0.12)


def test_a_queue_without_room_is_foreseen():
    door = Door()
    for number in range(200):
        door.fill(caller=str(number))
    with pytest.raises(Overloaded, match="no room for at least 50 tokens"):
        door.foresee(*[50])


def test_what_is_foreseen_in_vain_is_tried_too_and_not_judged_again():
    """Else tries would be made of nothing that is refused so early."""
    door = Door()
    for _ in range(100):
        door.speed.record(1, 100, 1.0)
    now, trial = 0.0, False
    while not trial and now < 60:
        try:
            trial = door.foresee(*[1] * 100, within=0.3, now=now)
        except DeadlineUnreachable:
            now += 0.1
    assert now == pytest.approx(20 * 0.3, abs=0.2)
    for _ in range(100):
        door.speed.record(1, 100, 1.0)

    assert door.call(*[10] * 100, within=0.3, now=now, trial=trial).trial
    with pytest.raises(DeadlineUnreachable):
        door.foresee(*[1] * 100, within=0.3, now=now + 0.1)


def test_a_trial_that_turns_out_to_be_in_time_is_a_call_like_others():
    assert not Door().call(10, within=1.0, trial=True).trial


def test_what_is_let_through_to_be_looked_at_again_corrects_no_doubt():
    door = Door()
    for _ in range(100):
        door.speed.record(1, 100, 1.0)
    for tenth in range(59):
        assert not door.foresee(100, within=30.0, now=tenth / 10)
        with pytest.raises(DeadlineUnreachable):
            door.call(100, within=0.3, now=tenth / 10)

    assert door.call(100, within=0.3, now=6.1).trial
