"""Workers and Redis die at any moment; every row comes out exactly once, without a person's help."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.bulk.serializer import PlainJson
from munjang.bulk.spec import JobSpec
from munjang.cli.stack.valkey import find_packed
from munjang.errors import QueueUnavailable
from munjang.settings import WorkerSettings

if TYPE_CHECKING:
    import subprocess


def check_every_row_once(bench: Any, count: int) -> None:
    assert [row["id"] for row in bench.rows()] == list(range(count))
    manifest = bench.manifest()
    assert manifest["rows_encoded"] == count
    assert sum(shard["rows"] for shard in manifest["shards"]) == count
    assert [shard["number"] for shard in manifest["shards"]] == list(range(len(manifest["shards"])))


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
    check_every_row_once(bench, 5000)


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
    check_every_row_once(bench, 5000)


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
    check_every_row_once(bench, 3000)
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
    check_every_row_once(bench, 3000)


def test_a_row_that_kills_its_worker_fails_the_job_and_not_every_worker_for_ever(bench: Any) -> None:
    path = bench.folder / "입력.txt"
    path.write_text("문장\n죽음의 문장\n", encoding="utf-8")
    job_id = bench.submit(path)
    for _ in range(2):
        bench.start(STEP_ATTEMPTS="2").wait(60)
    bench.start(STEP_ATTEMPTS="2")
    job = bench.finish(job_id, "failed")
    assert "its worker died" in job.message


@pytest.mark.parametrize("moment", ["forward", "report"])
def test_redis_is_killed_and_started_again_at_any_moment(frail_bench: Any, moment: str) -> None:
    bench = frail_bench
    bench.gate.touch()
    workers = [bench.start() for _ in range(2)]
    job_id = bench.submit(bench.write(4000))
    for worker in workers:
        bench.forwarding(worker)
    bench.server.kill()
    if moment == "report":  # the work ends while nobody can be told
        bench.gate.unlink()
        bench.until(lambda: len(list((bench.folder / "출력/.munjang/shards").glob("*.json"))) >= 2, "two commits")
    bench.server.start()
    bench.gate.unlink(missing_ok=True)
    bench.finish(job_id)
    check_every_row_once(bench, 4000)
    assert all(worker.poll() is None for worker in workers)


@pytest.mark.parametrize("step", ["plan", "finish"])
def test_redis_is_killed_and_started_again_while_a_job_is_planned_or_finished(frail_bench: Any, step: str) -> None:
    bench = frail_bench
    gate = bench.folder / f"{step}-gate"
    gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(4000))
    bench.until(lambda: bench.trace(step), f"the {step}")
    bench.server.kill()
    gate.unlink()
    if step == "finish":  # all is written while nobody can be told
        bench.until((bench.folder / "출력" / "manifest.json").exists, "the manifest")
    bench.server.start()
    bench.finish(job_id)
    check_every_row_once(bench, 4000)
    assert worker.poll() is None


def test_with_the_default_settings_a_killed_worker_s_shard_is_done_within_90_s_of_the_kill(
    bench: Any, redis_binary: Path
) -> None:
    packed = find_packed()
    if packed and Path(packed) != redis_binary:
        pytest.skip("how long a lease is does not depend on the server, and was shown on the embedded one")
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
    check_every_row_once(bench, 5000)


def test_who_watches_a_job_sees_its_end_over_a_restart_of_redis(frail_bench: Any) -> None:
    bench = frail_bench
    bench.gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(2000))
    bench.forwarding(worker)
    watch = bench.queue.watch(job_id, interval=0.1)
    assert next(watch).state == "running"
    bench.server.kill()
    starting = threading.Timer(3, bench.server.start)
    starting.start()
    bench.gate.unlink()
    assert [job.state for job in watch][-1] == "succeeded"
    starting.join()
    bench.server.kill()
    with pytest.raises(QueueUnavailable):
        next(bench.queue.watch(job_id))


def test_an_idle_worker_outlives_redis(frail_bench: Any) -> None:
    bench = frail_bench
    worker = bench.start()
    bench.until(lambda: "worker ready" in bench.logs(), "the worker")
    bench.server.kill()
    bench.until(lambda: "waiting for Redis" in bench.logs(), "the loss")
    bench.server.start()
    bench.finish(bench.submit(bench.write(10)))
    assert worker.poll() is None


def test_a_worker_without_redis_still_ends_on_request(frail_bench: Any) -> None:
    bench = frail_bench
    worker = bench.start()
    bench.until(lambda: "worker ready" in bench.logs(), "the worker")
    bench.server.kill()
    bench.until(lambda: "waiting for Redis" in bench.logs(), "the loss")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_a_redis_that_forgot_everything_is_told_again_from_the_output_folder(bench: Any) -> None:
    bench.gate.touch()
    worker = bench.start()
    job_id = bench.submit(bench.write(4000))
    bench.forwarding(worker)
    bench.redis.flushall()
    bench.gate.unlink()
    bench.until((bench.folder / "출력" / "manifest.json").exists, "the manifest")
    bench.finish(job_id)
    check_every_row_once(bench, 4000)


def test_steps_that_were_lost_from_the_queue_are_queued_again(bench: Any) -> None:
    bench.gate.touch()
    worker = bench.start()
    queue = Queue(QUEUE, connection=bench.redis, serializer=PlainJson)
    queue.enqueue_in(timedelta(hours=1), EMBED_FILE, "/in", "/out")  # others have work in the queue meanwhile
    job_id = bench.submit(bench.write(4000))
    bench.forwarding(worker)
    bench.redis.delete("rq:queue:munjang")
    bench.gate.unlink()
    bench.finish(job_id)
    check_every_row_once(bench, 4000)
    assert "taken up again" in bench.logs()


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
    check_every_row_once(bench, 3000)


def test_a_broken_model_is_no_row_s_fault_and_the_process_begins_anew(bench: Any) -> None:
    bench.broken.touch()
    worker = bench.start_fresh()
    job_id = bench.submit(bench.write(100))
    bench.until(lambda: len(bench.trace("load")) >= 2, "a new load")
    bench.broken.unlink()
    bench.finish(job_id)
    check_every_row_once(bench, 100)
    assert bench.manifest()["rows_failed"] == 0
    assert worker.poll() is None
    assert bench.logs().count("worker ready") >= 2


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
    check_every_row_once(bench, 3000)
