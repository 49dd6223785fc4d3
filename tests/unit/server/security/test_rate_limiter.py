"""Rates of tokens, on a clock that tests turn."""

from __future__ import annotations

import pytest

from munjang.errors import RateLimited
from munjang_server.security.authentication import BURST_SECONDS, RateLimiter


class Clock:
    """Time as tests want it."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_burst_is_allowed_and_then_the_rate_holds(clock):
    limiter = RateLimiter(10, 0, clock)
    limiter.charge(texts=int(10 * BURST_SECONDS))
    with pytest.raises(RateLimited) as caught:
        limiter.charge(texts=5)
    assert caught.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    limiter.charge(texts=5)


def test_what_was_refused_costs_nothing(clock):
    limiter = RateLimiter(10, 0, clock)
    limiter.charge(texts=95)
    for _ in range(3):
        with pytest.raises(RateLimited):
            limiter.charge(texts=6)
    limiter.charge(texts=5)


def test_a_batch_larger_than_the_burst_is_possible_and_paid_for_afterwards(clock):
    limiter = RateLimiter(1, 0, clock)
    limiter.charge(texts=50)
    with pytest.raises(RateLimited) as caught:
        limiter.charge(texts=1)
    assert caught.value.retry_after == pytest.approx(41)


def test_idle_time_fills_no_more_than_the_burst(clock):
    limiter = RateLimiter(10, 0, clock)
    clock.now += 1e6
    limiter.charge(texts=100)
    with pytest.raises(RateLimited):
        limiter.charge(texts=1)


def test_model_tokens_have_a_rate_of_their_own(clock):
    limiter = RateLimiter(0, 100, clock)
    limiter.charge(texts=10**6)
    limiter.charge(tokens=1000)
    with pytest.raises(RateLimited, match="100 tokens a second"):
        limiter.charge(tokens=1)


def test_a_check_charges_nothing(clock):
    limiter = RateLimiter(10, 0, clock)
    limiter.check(texts=100)
    limiter.charge(texts=100)
    with pytest.raises(RateLimited):
        limiter.check(texts=1)


def test_a_refund_gives_back_what_was_charged(clock):
    limiter = RateLimiter(1, 2, clock)
    limiter.charge(texts=50, tokens=100)
    limiter.refund(texts=50, tokens=100)
    limiter.charge(texts=10, tokens=20)
    with pytest.raises(RateLimited):
        limiter.charge(texts=1)


def test_work_over_one_limit_is_not_charged_to_the_other(clock):
    limiter = RateLimiter(10, 1, clock)
    limiter.charge(tokens=10)
    with pytest.raises(RateLimited, match="1 tokens a second"):
        limiter.charge(texts=100, tokens=5)
    limiter.charge(texts=100)
