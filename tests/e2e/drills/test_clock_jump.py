"""Promise: a clock that jumps, or is an hour wrong on one machine, fails no call, fails no job and doubles no row.

The clocks are libfaketime's: what the C library says of the time of day, also to gRPC, PyTorch and Valkey, while the
monotonic clock goes on, as when a machine's time is set.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from redis import Redis

from munjang.bulk.job import JobSpec
from munjang.cli.callers import Callers
from munjang.client.jobs import JobQueue
from munjang_worker.connection import redis_time

ROWS = 8192
HOUR = 3600
TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]


class Clock:
    """The time of day that processes with these variables see."""

    def __init__(self, library, folder, name):
        self._file = folder / name
        self.set(0)
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "0",  # look once a second: many looks at a time disturb each other
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds):
        """Let it be so many seconds ahead of this machine's."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.replace(self._file)


@pytest.fixture
def clock(tmp_path):
    """Make a clock; it shows the right time at first."""
    spec = importlib.util.find_spec("libfaketime")
    found = list(Path(spec.origin).parent.rglob("libfaketime.so.1")) if spec else []
    if not found:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is not installed, and CI is set")
        pytest.skip("there is no libfaketime for this machine")
    return lambda name="clock": Clock(found[0], tmp_path, name)


@pytest.fixture
def queue(any_redis_binary, new_redis):
    """Start a queue: its URL and a `JobQueue` on it."""
    queues = []

    def start(variables=None):
        url = new_redis(any_redis_binary, variables).url
        queues.append(JobQueue(url))
        return url, queues[-1]

    yield start
    for each in queues:
        each.close()


def jump(machine, url, seconds, until):
    """Set the clock, and wait until programs see it: all do from the same second on."""
    machine.set(seconds)
    with Redis.from_url(url) as connection:
        until(lambda: abs(redis_time(connection) - time.time() - seconds) < HOUR / 2, "the jump")


def rows_of(output):
    return [key for part in sorted(output.glob("part-*.parquet")) for key in pq.read_table(part)["id"].to_pylist()]


def test_the_clock_of_a_machine_jumps_an_hour_ahead_and_two_back_under_calls_and_a_job(
    registry, replica, start_worker, clock, queue, impatient, corpus, tmp_path, until
):
    machine = clock()
    url, jobs = queue(machine.variables)
    server = replica(registry, redis_url=url, variables=machine.variables).ready()
    worker = start_worker(registry, url, variables=machine.variables)
    with impatient(server.target) as client, Callers(client, TEXTS) as callers:
        job, _ = jobs.submit(JobSpec(input=str(corpus(4 * ROWS)), output=str(tmp_path / "출력")))
        until(lambda: jobs.get(job.id).progress.shards_done >= 1, "the first shard")
        jump(machine, url, HOUR, until)
        done = jobs.get(job.id).progress.shards_done
        until(lambda: jobs.get(job.id).progress.shards_done >= done + 2, "two shards after the jump")
        jump(machine, url, -HOUR, until)
        ended = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the job")
        assert callers.wait(1, 50, 60)
        registry.promote("stable", 2, "drill")
        assert callers.wait(2, 50, 60)
    assert callers.failures == {}
    assert ended.state == "succeeded", ended.message
    assert ended.ended_at.timestamp() < time.time() - HOUR / 2
    assert rows_of(tmp_path / "출력") == [str(number) for number in range(4 * ROWS)]
    assert worker.stop() == 0
    assert server.program.stop() == 0


@pytest.fixture
def two_workers(registry, start_worker, clock, queue):
    """Start two workers on a queue, the clock of the first so many seconds off; its steps take seconds."""

    def start(seconds, **settings):
        url, jobs = queue()
        wrong = clock()
        wrong.set(seconds)
        odd = start_worker(registry, url, variables=wrong.variables, **settings)
        right = start_worker(registry, url, **settings)
        for worker in (odd, right):
            worker.wait_for("worker ready")
        return odd, right, jobs

    return start


def test_no_step_is_taken_from_a_worker_whose_clock_is_an_hour_behind(two_workers, corpus, tmp_path, until):
    odd, right, jobs = two_workers(-HOUR, shard_rows=2 * ROWS, step_attempts=1, lease_seconds=30)
    job, _ = jobs.submit(JobSpec(input=str(corpus(4 * ROWS)), output=str(tmp_path / "출력")))
    for worker in (odd, right):
        worker.wait_for("model loaded")
    ended = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the job")
    assert ended.state == "succeeded", ended.message
    assert rows_of(tmp_path / "출력") == [str(number) for number in range(4 * ROWS)]


def test_the_step_of_a_dead_worker_whose_clock_was_an_hour_ahead_is_taken_over_soon(
    two_workers, corpus, tmp_path, until
):
    odd, _, jobs = two_workers(HOUR)
    job, _ = jobs.submit(JobSpec(input=str(corpus(ROWS)), output=str(tmp_path / "출력")))
    odd.wait_for("model loaded")
    odd.process.kill()
    ended = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the job")
    assert ended.state == "succeeded", ended.message
    assert rows_of(tmp_path / "출력") == [str(number) for number in range(ROWS)]
