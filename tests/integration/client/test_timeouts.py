"""Every number of seconds means something or is refused by name at once."""

from __future__ import annotations

import math

import grpc
import numpy as np
import pytest

from munjang.client import Client, RetryPolicy
from munjang.client.retry import Attempts, seconds
from munjang.errors import ConfigurationError, DeadlineExceeded, InvalidOption, ServerUnreachable


@pytest.mark.parametrize("timeout", [math.inf, 1e10, 1e300, 10**400, 1e9, 1e8, None, np.float32(30), 30])
def test_a_time_without_an_end_and_a_long_one_are_no_deadline(connect, server, timeout):
    client = connect(server.target, timeout=timeout, batch_size=1)
    assert len(client.encode(["하나", "둘"])) == 2
    assert len(client.encode(["하나", "둘"], timeout=timeout)) == 2
    assert [batch.result().version for batch in client.encode_stream(["흐름"], timeout=timeout)] == [7]
    assert client.version(timeout=timeout).version == 7
    client.wait_ready(timeout)


@pytest.mark.parametrize("timeout", [math.inf, None])
def test_an_endless_time_goes_on_with_retries(connect, server, timeout):
    server.embedding.failures += [grpc.StatusCode.UNAVAILABLE] * 2
    assert len(connect(server.target, timeout=timeout).encode("다시")) == 1


@pytest.mark.parametrize("timeout", [0, -1, -math.inf])
def test_no_time_left_is_a_deadline_that_has_passed(connect, server, timeout, caught):
    client = connect(server.target)
    assert isinstance(caught(client.encode, "늦음", timeout=timeout), DeadlineExceeded)
    assert isinstance(caught(client.versions, timeout=timeout), DeadlineExceeded)
    assert isinstance(caught(client.wait_ready, timeout), DeadlineExceeded)
    assert isinstance(caught(lambda: list(client.encode_stream(["늦음"], timeout=timeout))), DeadlineExceeded)


@pytest.mark.parametrize("timeout", [math.nan, "30", True])
def test_what_is_no_time_is_refused_by_name(connect, server, timeout, caught):
    client = connect(server.target)

    def stream(texts, timeout):
        return list(client.encode_stream(texts, timeout=timeout))

    for call in (client.encode, client.similarity, stream):
        error = caught(call, ["글"], timeout=timeout)
        assert (type(error), error.field) == (InvalidOption, "timeout")
    assert caught(client.wait_ready, timeout).field == "timeout"
    assert not server.embedding.requests


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "30"}, "timeout"),
        ({"keepalive": math.nan}, "keepalive"),
        ({"keepalive": math.inf}, "keepalive"),
        ({"keepalive": 1e9}, "keepalive"),
        ({"keepalive": -1}, "keepalive"),
        ({"batch_size": math.inf}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"in_flight": math.nan}, "in_flight"),
        ({"max_message_bytes": 2**31}, "max_message_bytes"),
    ],
)
def test_an_option_of_a_client_that_cannot_work_is_refused_by_name(options, field):
    with pytest.raises((ConfigurationError, InvalidOption)) as info:
        Client("127.0.0.1:1", **options)
    assert info.value.field == field


@pytest.mark.parametrize("name", ["initial", "multiplier", "maximum"])
def test_a_retry_policy_of_no_numbers_is_refused(name):
    with pytest.raises(ConfigurationError):
        RetryPolicy(**{name: math.nan})


def test_an_endless_back_off_is_refused():
    with pytest.raises(ConfigurationError):
        RetryPolicy(initial=math.inf, maximum=math.inf)


def test_any_number_of_attempts_has_a_wait():
    policy = RetryPolicy(attempts=5000, initial=1, maximum=math.inf)
    attempts = Attempts(policy, math.inf, lambda _low, high: high)
    waits = [attempts.wait_after(ServerUnreachable("x")) for _ in range(2000)]
    assert waits[:3] == [1, 2, 4]
    assert waits[-1] is None


def test_seconds_are_what_the_caller_says_up_to_what_no_clock_takes():
    assert seconds(1.5) == 1.5
    assert seconds(1e9) == math.inf
