"""Workers and Redis die at any moment; every row comes out exactly once, without a person's help."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from munjang.bulk import QUEUE
from munjang.bulk.job import JobSpec
from munjang.settings import WorkerSettings

if TYPE_CHECKING:
    import subprocess


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_the_step_of_a_killed_worker_is_taken_over(bench: Any) -> None:
    bench.gate.touch()
    workers = [bench.start() for _ in range(3)]
    job_id = bench.submit(bench.write(5000))
    for worker in workers:
        bench.forwarding(worker)
    kill(workers[0])
    bench.gate.unlink()
    begun = time.monotonic()
    bench.finish(job_id)
    assert time.monotonic() - begun < 90
    bench.check_every_row_once(5000)


def test_a_job_whose_workers_were_all_killed_goes_on_with_new_ones(bench: Any) -> None:
    bench.gate.touch()
    workers = [bench.start() for _ in range(2)]
    job_id = bench.submit(bench.write(5000))
    for worker in workers:
        bench.forwarding(worker)
    for worker in workers:
        kill(worker)
    bench.gate.unlink()
    bench.start()
    bench.finish(job_id)
    bench.check_every_row_once(5000)


def test_a_killed_worker_s_shard_is_done_again_in_an_object_store_too(bench: Any) -> None:
    store = bench.folder / "bucket"
    (store / "안").mkdir(parents=True)
    (store / "안" / "입력.jsonl.gz").write_bytes(gzip.compress(bench.write(3000).read_bytes()))
    bench.gate.write_text(str(store / "안" / "출력"))
    roots = {"INPUT_ROOTS": "bucket://안", "OUTPUT_ROOTS": "bucket://안"}
    worker = bench.start(**roots)
    spec = JobSpec(input="bucket://안/*.gz", output="bucket://안/출력")
    job_id = bench.queue.submit(spec)[0].id
    bench.until(lambda: bench.trace("held"), "the second shard")
    kill(worker)
    bench.gate.unlink()
    bench.start(**roots)
    bench.finish(job_id)
    refused = bench.queue.submit(spec.model_copy(update={"output": "bucket://밖"}))[0].id
    assert "outside" in bench.finish(refused, "failed").message
    (store / "안" / "출력").rename(bench.folder / "출력")
    bench.check_every_row_once(3000)
    assert not (bench.folder / "출력" / ".munjang" / "input").exists()


def test_a_step_that_takes_longer_than_a_lease_stays_with_its_worker(bench: Any) -> None:
    bench.gate.touch()
    busy = bench.start(LEASE_SECONDS="4")
    job_id = bench.submit(bench.write(100))
    bench.forwarding(busy)
    bench.start(LEASE_SECONDS="4")
    lease = bench.until(lambda: bench.redis.zrange("rq:wip:munjang", 0, -1, withscores=True), "the lease")[0][1]
    bench.until(lambda: bench.redis.zrange("rq:wip:munjang", 0, -1, withscores=True)[0][1] > lease + 5, "its renewal")
    bench.gate.unlink()
    bench.finish(job_id)
    assert {pid for pid, _ in bench.trace("forward")} == {busy.pid}
    assert bench.manifest()["rows_encoded"] == 100


def test_a_worker_that_is_killed_while_it_plans_is_replaced(bench: Any) -> None:
    gate = bench.folder / "plan-gate"
    gate.touch()
    job_id = bench.submit(bench.write(3000))
    worker = bench.start()
    bench.until(lambda: bench.trace("plan"), "the plan's beginning")
    assert bench.state(job_id) == "running"
    kill(worker)
    gate.unlink()
    bench.start(SHARD_ROWS="2048")
    bench.finish(job_id)
    bench.check_every_row_once(3000)


def test_a_row_that_kills_its_worker_fails_the_job_and_not_every_worker_for_ever(bench: Any) -> None:
    path = bench.folder / "입력.txt"
    path.write_text("문장\n죽음의 문장\n", encoding="utf-8")
    job_id = bench.submit(path)
    for _ in range(2):
        bench.start(STEP_ATTEMPTS="2").wait(60)
    bench.start(STEP_ATTEMPTS="2")
    job = bench.finish(job_id, "failed")
    assert "its worker died" in job.message


@pytest.mark.usefixtures("first_redis_only")
def test_with_the_default_settings_a_killed_worker_s_shard_is_done_within_90_s_of_the_kill(bench: Any) -> None:
    bench.gate.touch()
    names = ("heartbeat_seconds", "lease_seconds", "maintenance_seconds")
    usual = {name.upper(): str(WorkerSettings.model_fields[name].default) for name in names}
    workers = [bench.start(**usual) for _ in range(3)]
    job_id = bench.submit(bench.write(5000))
    for worker in workers:
        bench.forwarding(worker)
    kill(workers[0])
    killed = time.monotonic()
    bench.gate.unlink()
    bench.finish(job_id, seconds=90)
    assert time.monotonic() - killed < 90
    bench.check_every_row_once(5000)


def test_a_damaged_part_is_found_at_the_end_and_made_again(bench: Any) -> None:
    bench.gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(3000))
    bench.forwarding(worker)
    bench.gate.unlink()
    bench.until(lambda: bench.queue.get(job_id).progress.shards_done >= 1, "a shard")
    bench.gate.touch()
    first = bench.parts()[0]
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    bench.gate.unlink()
    bench.finish(job_id)
    bench.check_every_row_once(3000)


def test_a_broken_model_is_no_row_s_fault_and_the_process_begins_anew(bench: Any) -> None:
    bench.broken.touch()
    worker = bench.start_fresh()
    job_id = bench.submit(bench.write(100))
    bench.until(lambda: len(bench.trace("load")) >= 2, "a new load")
    bench.broken.unlink()
    bench.finish(job_id)
    bench.check_every_row_once(100)
    assert bench.manifest()["rows_failed"] == 0
    assert worker.poll() is None
    assert bench.logs().count("worker ready") >= 2


@pytest.mark.skipif(sys.platform != "linux", reason="limits a running process, as Linux alone can")
def test_a_disk_that_was_full_for_a_while_needs_nobody_s_help(bench: Any) -> None:
    bench.gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(3000))
    bench.until(lambda: bench.trace("held"), "a forward")
    _, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    bench.gate.unlink()
    bench.until(lambda: bench.redis.zcard(f"rq:scheduled:{QUEUE}"), "a step that is put off")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (hard, hard))
    bench.finish(job_id)
    bench.check_every_row_once(3000)


@pytest.mark.skipif(sys.platform != "linux", reason="limits a running process, as Linux alone can")
def test_a_full_disk_fails_the_job_with_the_reason_and_a_retry_goes_on(bench: Any) -> None:
    bench.gate.write_text(str(bench.folder / "출력"))
    worker = bench.start(STEP_ATTEMPTS="1")
    job_id = bench.submit(bench.write(3000))
    bench.until(lambda: bench.trace("held"), "the second shard")
    _, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    bench.gate.unlink()
    job = bench.finish(job_id, "failed")
    assert "shard 2 of 3" in job.message
    assert os.strerror(errno.EFBIG) in job.message
    assert len(bench.parts()) == 1
    assert not list((bench.folder / "출력" / ".munjang" / "tmp").iterdir())
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (hard, hard))
    bench.queue.retry(job_id)
    bench.finish(job_id)
    bench.check_every_row_once(3000)
