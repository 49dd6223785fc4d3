import time

import pytest

from munjang.client import RetryPolicy
from munjang.client.retry import Attempts
from munjang.errors import (
    ConfigurationError,
    Overloaded,
    ServerUnreachable,
    TextTooLong,
    VersionNotFound,
    VersionNotReady,
)


def attempts(policy=None, seconds=100.0, jitter=lambda _low, high: high):
    return Attempts(policy or RetryPolicy(), time.monotonic() + seconds, jitter)


def test_waits_grow_up_to_the_maximum_and_tries_end():
    tries = attempts(RetryPolicy(attempts=6, initial=1, multiplier=3, maximum=5))
    waits = [tries.wait_after(ServerUnreachable("x")) for _ in range(6)]
    assert waits == [1, 3, 5, 5, 5, None]


def test_jitter_spreads_the_waits():
    lowest = attempts(RetryPolicy(initial=1), jitter=lambda low, _high: low)
    assert lowest.wait_after(ServerUnreachable("x")) == 0.5


def test_the_servers_own_time_is_never_cut_short():
    low = attempts(RetryPolicy(maximum=5), jitter=lambda low, _high: low)
    assert low.wait_after(Overloaded("x", retry_after=20)) == 20


def test_nothing_is_tried_past_the_deadline():
    assert attempts(seconds=3).wait_after(Overloaded("x", retry_after=4)) is None
    assert attempts(seconds=-1).remaining() == 0


def test_what_would_fail_again_is_not_tried():
    assert attempts().wait_after(TextTooLong("x")) is None


@pytest.mark.parametrize("refusal", [VersionNotFound("x"), VersionNotReady("x")])
def test_a_version_that_some_server_answered_with_is_asked_for_again(refusal):
    end = time.monotonic() + 100
    assert Attempts(RetryPolicy(), end, answered=True).wait_after(refusal) is not None
    assert Attempts(RetryPolicy(), end).wait_after(refusal) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"initial": -1}, {"multiplier": 0.5}, {"maximum": 0.01}])
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        RetryPolicy(**wrong)
