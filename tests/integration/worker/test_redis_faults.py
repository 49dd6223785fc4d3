"""Redis dies or forgets at any moment; workers wait, and what it lost is done again from the output folder."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from typing import Any

import pytest
from rq import Queue

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.bulk.job import RUNNING, job_key
from munjang.bulk.serializer import PlainJson
from munjang.errors import QueueUnavailable


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
    bench.check_every_row_once(4000)
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
    bench.check_every_row_once(4000)
    assert worker.poll() is None


@pytest.mark.parametrize("lost", ["the claim", "everything"])
def test_what_a_killed_redis_forgot_while_a_job_was_planned_is_told_again(bench: Any, lost: str) -> None:
    gate = bench.folder / "plan-gate"
    gate.touch()
    bench.start()
    job_id = bench.submit(bench.write(4000))
    bench.until(lambda: bench.trace("plan"), "the plan")
    if lost == "everything":
        bench.redis.flushall()
    else:
        bench.redis.hset(job_key(job_id), "state", "queued")
        bench.redis.hdel(job_key(job_id), "started_at")
        bench.redis.srem(RUNNING, job_id)
    gate.unlink()
    bench.until((bench.folder / "출력" / "manifest.json").exists, "the manifest")
    assert bench.finish(job_id).started_at
    bench.check_every_row_once(4000)


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
    bench.check_every_row_once(4000)


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
    bench.check_every_row_once(4000)
    assert "and is resumed" in bench.logs()
