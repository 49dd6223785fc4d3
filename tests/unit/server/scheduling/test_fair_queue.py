"""Fairness among callers, seen through the batches that a queue forms."""

from __future__ import annotations

from collections import Counter

import pytest

from munjang.encoder.contract import Tokens
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling.api import Work
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.request_queue import Lanes


class Lease:
    encoder = FakeEncoder()
    version = 1


def request(caller, *lengths):
    return Request(Work(Lease(), [Tokens((0,) * length) for length in lengths], caller), None, 0.0)


@pytest.fixture
def queue():
    settings = BatchSettings(batch_tokens=160)
    latencies = Latencies()
    return Lanes(BatchLimits(settings, latencies), latencies, settings.bulk_share)


def callers_of(batch):
    return Counter(part.request.work.caller for part in batch.parts for _ in part.indices)


def take(queue):
    return callers_of(queue.take(0.0))


def test_a_small_caller_waits_for_a_few_batches_of_a_greedy_ones_queue_at_most(queue):
    for _ in range(1000):
        queue.add(request("욕심", 16))
    for _ in range(5):
        take(queue)
    queue.add(request("작은", 16))

    served = [take(queue) for _ in range(4)]  # a quantum ahead is allowed, and one batch runs

    assert any("작은" in batch for batch in served)


def test_a_small_caller_of_another_length_does_not_wait_either(queue):
    for _ in range(1000):
        queue.add(request("욕심", 16))
    for _ in range(5):
        take(queue)
    queue.add(request("작은", 100))

    served = [take(queue) for _ in range(4)]  # a quantum ahead is allowed, and one batch runs

    assert any("작은" in batch for batch in served)


def test_two_greedy_callers_get_half_each_even_where_one_sends_longer_texts(queue):
    for _ in range(300):
        queue.add(request("짧은", *[16] * 10))
    for _ in range(300):
        queue.add(request("긴", 80, 80))

    tokens = Counter()
    for _ in range(300):
        batch = queue.take(0.0)
        for part in batch.parts:
            tokens[part.request.work.caller] += part.tokens

    assert tokens["짧은"] / tokens.total() == pytest.approx(0.5, abs=0.05)


def test_a_caller_with_one_huge_request_shares_as_well(queue):
    queue.add(request("하나", *[16] * 1000))
    for _ in range(100):
        queue.add(request("여럿", *[64] * 2))

    tokens = Counter()
    for _ in range(100):
        batch = queue.take(0.0)
        for part in batch.parts:
            tokens[part.request.work.caller] += part.tokens

    assert tokens["하나"] / tokens.total() == pytest.approx(0.5, abs=0.05)


def test_callers_within_their_share_are_served_as_they_came(queue):
    lengths = {"하나": 30, "둘": 150, "셋": 45, "넷": 100, "다섯": 20, "여섯": 66}
    for name, length in lengths.items():
        queue.add(request(name, length))

    served = []
    while (batch := queue.take(0.0)) is not None:
        served += [part.request.work.caller for part in batch.parts]

    assert served == list(lengths)


def test_being_away_earns_no_credit(queue):
    queue.add(request("왔다간", 16))
    take(queue)
    for _ in range(2000):
        queue.add(request("남은", 16))
    for _ in range(100):
        take(queue)
    for _ in range(200):
        queue.add(request("왔다간", 100))

    tokens = Counter()
    for _ in range(60):
        batch = queue.take(0.0)
        for part in batch.parts:
            tokens[part.request.work.caller] += part.tokens

    assert tokens["남은"] / tokens.total() == pytest.approx(0.5, abs=0.1)


def test_leaving_and_coming_back_does_not_cancel_what_was_had(queue):
    for _ in range(100):
        queue.add(request("남은", *[100] * 2))
    tokens = Counter()
    for _ in range(200):
        if not queue.lanes["interactive"].callers.tokens("들락날락"):
            queue.add(request("들락날락", *[16] * 10))
        batch = queue.take(0.0)
        for part in batch.parts:
            tokens[part.request.work.caller] += part.tokens

    assert tokens["들락날락"] / tokens.total() < 0.6


def test_a_newcomer_is_told_only_what_goes_before_it(queue):
    for _ in range(100):
        queue.add(request("욕심", 16))
    callers = queue.lanes["interactive"].callers

    assert callers.ahead(request("새로", 16), quantum=160) == pytest.approx(160)
    assert callers.ahead(request("욕심", 16), quantum=160) >= 1600
