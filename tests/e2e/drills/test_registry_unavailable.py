"""Promise: while the registry is away, for a minute or an hour, servers serve on; back again, nothing is restarted.

How long it is away does not matter to a server, which looks again and again; here it looks twenty times a second, and
the registry is away for as long as some hundred calls take.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.bulk.job import JobSpec
from munjang.cli.callers import Callers
from munjang.client import Client
from munjang.client.jobs import JobQueue

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
READABLE = "munjang_server_registry_readable"


def take_away(registry, how):
    """Let the registry be gone, as an unmounted volume, or empty, as its mount point; returns how it comes back."""
    folder = Path(registry.url)
    aside = folder.rename(folder.with_name("away"))
    if how == "empty":
        folder.mkdir()

    def back():
        if how == "empty":
            folder.rmdir()
        aside.rename(folder)

    return back


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_servers_serve_on_without_the_registry_and_follow_it_when_it_is_back(registry, replica, impatient, until, how):
    server = replica(registry).ready()
    with impatient(server.target) as client, Callers(client, TEXTS) as callers:
        back = take_away(registry, how)
        until(lambda: server.metric(READABLE) == 0, "the loss")
        assert callers.wait(1, 100, 60)
        client.wait_ready(10)
        back()
        registry.promote("stable", 2, "drill")
        assert callers.wait(2, 50, 60)
        assert server.metric(READABLE) == 1
    assert callers.failures == {}
    assert server.program.stop() == 0


def test_a_server_that_starts_without_the_registry_says_so_and_serves_once_it_is_back(registry, replica):
    back = take_away(registry, "gone")
    server = replica(registry)
    server.program.wait_for("listening")
    waiting = server.program.wait_for("not serving")
    assert registry.url in waiting["reason"]
    back()
    server.ready()
    with Client(server.target) as client:
        assert client.encode(TEXTS).version == 1


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_job_that_is_submitted_meanwhile_waits_for_the_registry(
    registry, start_worker, any_redis_binary, new_redis, corpus, tmp_path, until, how
):
    url = new_redis(any_redis_binary).url
    worker = start_worker(registry, url)
    back = take_away(registry, how)
    jobs = JobQueue(url)
    job, _ = jobs.submit(JobSpec(input=str(corpus(100)), output=str(tmp_path / "출력")))
    worker.wait_for("step failed", attempts_left=3)
    back()
    ended = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the job")
    jobs.close()
    assert ended.state == "succeeded", ended
    assert len([line for line in worker.lines if line["event"] == "step failed"]) == 1
