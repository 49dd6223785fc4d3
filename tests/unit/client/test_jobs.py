"""Times that a job queue is given: each means something or is refused by name at once."""

from __future__ import annotations

import math

import pytest

from munjang.errors import InvalidOption

JobQueue = pytest.importorskip("munjang.client.jobs").JobQueue
URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 5])
def test_a_wait_may_be_endless(seconds):
    JobQueue(URL, seconds=seconds).close()


@pytest.mark.parametrize("seconds", [math.nan, 0, -1, None, "5"])
def test_what_is_no_wait_is_refused(seconds):
    with pytest.raises(InvalidOption) as info:
        JobQueue(URL, seconds=seconds)
    assert info.value.field == "seconds"


@pytest.mark.parametrize("name", ["interval", "patience"])
def test_a_watch_is_told_real_times(name):
    queue = JobQueue(URL)
    with pytest.raises(InvalidOption) as info:
        next(queue.watch("job-x", **{name: math.nan}))
    assert info.value.field == name
    queue.close()
