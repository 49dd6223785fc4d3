"""Promise: a full disk fails what needs room, with the reason; what stands stays whole, and everything else goes on."""

from __future__ import annotations

import os
import shutil

import pyarrow.parquet as pq
import pytest

from munjang.bulk.job import JobSpec
from munjang.cli.callers import Callers
from munjang.client.jobs import JobQueue
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.e2e.drills.small_disk import SmallDisk

ROWS = 8192
TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]
FULL = "No space left on device"


@pytest.fixture
def small_disk(tmp_path):
    """Make a disk of so many megabytes; gone after the test."""
    disks = []

    def make(megabytes):
        try:
            disks.append(SmallDisk(tmp_path / f"disk-{len(disks)}", megabytes))
            problem = "" if disks[-1].works else disks[-1].said
        except OSError as error:
            problem = str(error)
        if problem:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no small disk can be made here: {problem}")
        return disks[-1]

    yield make
    for disk in disks:
        disk.__exit__()


def test_a_full_registry_takes_no_version_and_moves_no_alias_but_serves_on(
    registry, replica, small_disk, impatient, run_munjang, tmp_path
):
    disk = small_disk(32)
    shutil.copytree(registry.url, disk.here / "registry")
    inside = Registry(str(disk.folder / "registry"))
    server = replica(inside, prefix=disk.prefix).ready()
    third = tiny_model(tmp_path / "third", seed=3)

    def munjang(*arguments):
        return run_munjang("versions", *arguments, "--registry", inside.url, prefix=disk.prefix)

    with impatient(server.target) as client, Callers(client, TEXTS) as callers:
        disk.fill(leave=1_000_000)  # room for the claim, and for a part of the files
        status, said = munjang("publish", third)
        assert (status, FULL in said) == (1, True), said
        disk.fill()
        status, said = munjang("promote", 2)
        assert (status, FULL in said) == (1, True), said
        assert server.metric("munjang_server_disk_free_bytes", place="registry") == 0
        assert callers.wait(1, 50, 60)
        disk.free()
        seen = Registry(str(disk.here / "registry"))
        assert seen.versions() == [1, 2]
        for version in (1, 2):
            seen.verify(version)
        status, said = munjang("promote", 2)
        assert status == 0, said
        assert callers.wait(2, 50, 60)
        assert publish_model(seen, third).version > 2
    assert callers.failures == {}
    assert set(callers.answered) == {1, 2}


def test_a_full_output_fails_the_job_with_the_reason_and_a_retry_goes_on_from_what_is_whole(
    registry, start_worker, small_disk, any_redis_binary, new_redis, corpus, run_munjang, until
):
    disk = small_disk(8)
    url = new_redis(any_redis_binary).url
    worker = start_worker(registry, url, prefix=disk.prefix, step_attempts=2)  # the other pauses take over a minute
    worker.wait_for("worker ready")
    disk.fill(leave=700_000)  # some of the eight shards, whose files take 150 kB each
    jobs = JobQueue(url)
    job, _ = jobs.submit(JobSpec(input=str(corpus(ROWS)), output=str(disk.folder / "출력")))
    failed = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the job")
    assert failed.state == "failed"
    assert FULL in failed.message
    assert worker.process.poll() is None
    whole = sorted((disk.here / "출력").glob("part-*.parquet"))
    assert 0 < len(whole) < ROWS / 1024
    stood = {part.name: part.stat().st_mtime_ns for part in whole}
    assert all(pq.read_table(part).num_rows == 1024 for part in whole)

    disk.free()
    status, said = run_munjang("jobs", "retry", job.id, "--redis", url)
    assert status == 0, said
    ended = until(lambda: (found := jobs.get(job.id)).state.ended and found, "the end of the retry")
    jobs.close()
    assert ended.state == "succeeded", ended
    parts = sorted((disk.here / "출력").glob("part-*.parquet"))
    assert {part.name: part.stat().st_mtime_ns for part in parts}.items() >= stood.items()
    assert [key for part in parts for key in pq.read_table(part)["id"].to_pylist()] == [str(row) for row in range(ROWS)]
