"""Stopping, retrying, versions, limits: what people do to running jobs, and what is promised then."""

from __future__ import annotations

import signal
import urllib.request
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue, Retry
from rq.command import send_stop_job_command
from rq.job import Job

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.bulk.serializer import PlainJson
from munjang.registry import Description, Registry
from tests.ports import free_port

if TYPE_CHECKING:
    import subprocess


def begun(bench: Any, count: int = 4000, **settings: str) -> tuple[str, subprocess.Popen[bytes]]:
    """A job with one finished shard, and its worker in the middle of the next."""
    bench.gate.write_text(str(bench.folder / "출력"))
    worker = bench.start(**settings)
    job_id = bench.submit(bench.write(count))
    bench.until(lambda: bench.trace("held"), "the second shard")
    return job_id, worker


def stamps(bench: Any) -> dict[str, tuple[int, int]]:
    return {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in bench.parts()}


def metrics(port: int) -> list[str]:
    """The lines of a worker's metrics page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return page.read().decode().splitlines()


def test_a_cancelled_job_stops_at_its_next_batch_and_keeps_finished_shards(bench: Any) -> None:
    job_id, worker = begun(bench)
    assert bench.queue.cancel(job_id).state == "cancelled"
    rq_job = Job.fetch(job_id, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: rq_job.get_meta().get("state") == "cancelled", "meta data for dashboards")
    bench.gate.unlink()
    bench.until(lambda: bench.queue.depth() == (0, 0), "the end of all steps")
    kept = stamps(bench)
    assert 1 <= len(kept) < 4
    assert not (bench.folder / "출력" / "manifest.json").exists()
    assert not list((bench.folder / "출력" / ".munjang" / "tmp").iterdir())
    assert bench.state(job_id) == "cancelled"
    assert worker.poll() is None
    bench.queue.retry(job_id)
    bench.finish(job_id)
    assert [row["id"] for row in bench.rows()] == list(range(4000))
    assert kept.items() <= stamps(bench).items()


def test_rq_s_own_stop_command_cancels_the_job_and_a_signal_at_that_moment_is_heard(bench: Any) -> None:
    job_id, worker = begun(bench)
    [rq_id, *_] = [key.decode().split(":")[0] for key in bench.redis.zrange("rq:wip:munjang", 0, -1)]
    send_stop_job_command(bench.redis, rq_id, serializer=PlainJson)
    bench.until(lambda: "command to its worker" in bench.logs() or bench.gate.unlink(missing_ok=True), "the stop")
    job = bench.finish(job_id, "cancelled")
    worker.send_signal(signal.SIGTERM)
    assert "command" in job.message
    assert worker.wait(30) == 0


def test_a_worker_asked_to_end_stops_at_the_next_batch_and_another_goes_on(bench: Any) -> None:
    job_id, worker = begun(bench, LEASE_SECONDS="600")
    worker.send_signal(signal.SIGTERM)
    kept = stamps(bench)
    bench.gate.unlink()
    assert worker.wait(30) == 0
    assert len(bench.parts()) < 4
    assert bench.state(job_id) == "running"
    bench.start(LEASE_SECONDS="600")
    bench.finish(job_id)
    assert [row["id"] for row in bench.rows()] == list(range(4000))
    assert kept.items() <= stamps(bench).items()


def test_an_idle_worker_ends_at_once_when_asked_to(bench: Any) -> None:
    worker = bench.start(MAINTENANCE_SECONDS="600")
    bench.until(lambda: bench.redis.client_list() and "worker ready" in bench.logs(), "the worker")
    bench.finish(bench.submit(bench.write(1)))
    bench.until(lambda: any(c["cmd"] == "blmove" for c in bench.redis.client_list()), "the wait")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(4) == 0


def test_a_running_job_keeps_its_version_and_the_next_has_the_new_one(bench: Any) -> None:
    job_id, _ = begun(bench)
    bench.registry.promote("stable", 2)
    bench.gate.unlink()
    assert bench.finish(job_id).version == 1
    assert bench.versions() == {"1"}
    later = bench.submit(bench.write(10, "다음.jsonl"), "다음")
    assert bench.finish(later).version == 2
    assert bench.versions("다음") == {"2"}
    assert [version for _, version in bench.trace("load")] == [1, 2]


def test_a_retry_after_the_alias_moved_goes_on_with_the_version_it_began_with(bench: Any) -> None:
    job_id, _ = begun(bench)
    bench.queue.cancel(job_id)
    bench.gate.unlink()
    bench.registry.promote("stable", 2)
    bench.queue.retry(job_id)
    assert bench.finish(job_id).version == 1
    assert bench.versions() == {"1"}


def test_an_output_made_with_another_version_is_refused_once_the_alias_moved(bench: Any) -> None:
    path = bench.write(10)
    bench.start()
    bench.finish(bench.submit(path))
    bench.registry.promote("stable", 2)
    job = bench.finish(bench.submit(path), "failed")
    assert "version 1, not 2" in job.message
    assert bench.versions() == {"1"}


def test_a_worker_whose_registry_has_another_model_under_the_same_number_does_not_mix_it_in(bench: Any) -> None:
    job_id, worker = begun(bench)
    worker.send_signal(signal.SIGTERM)
    bench.gate.unlink()
    assert worker.wait(30) == 0
    other = bench.folder / "다른 모델"
    other.mkdir()
    (other / "config.json").write_text('{"another": true}')
    registry = Registry(str(bench.folder / "다른 곳"))
    registry.publish(other, Description(dimensions=8, max_tokens=128))
    bench.start(REGISTRY=registry.url)
    assert "has another version 1" in bench.finish(job_id, "failed").message


@pytest.mark.parametrize(
    ("options", "cause"), [({"precision": "int8"}, "precision"), ({"prompt_name": "query"}, "prompt_name")]
)
def test_an_output_of_other_work_is_refused_with_the_difference(
    bench: Any, options: dict[str, str], cause: str
) -> None:
    path = bench.write(10)
    bench.start()
    bench.finish(bench.submit(path))
    assert cause in bench.finish(bench.submit(path, **options), "failed").message
    bench.write(11)
    assert "input has changed" in bench.finish(bench.submit(path), "failed").message
    assert len(bench.rows()) == 10


def test_ten_jobs_take_one_model_load(bench: Any) -> None:
    port = free_port()
    bench.start(WORKER_METRICS_PORT=str(port))
    path = bench.folder / "입력.txt"
    path.write_text("하나\n둘\n\n셋\n넷\n", encoding="utf-8")
    for job_id in [bench.submit(path, f"출력{number}") for number in range(10)]:
        bench.finish(job_id)
    idle = 'munjang_queue_steps{state="waiting"} 0.0'  # a job's RQ job ends a moment after it
    bench.until(lambda: idle in metrics(port), idle)
    assert {
        "munjang_worker_model_loads_total 1.0",
        'munjang_worker_rows_total{outcome="encoded"} 40.0',
        'munjang_worker_rows_total{outcome="failed"} 10.0',
        "munjang_worker_tokens_total 130.0",  # a character each and two special ones
        "munjang_worker_shard_seconds_count 10.0",
        'munjang_worker_steps_total{outcome="done",step="shard"} 10.0',
    } <= set(metrics(port))
    [shard, *_] = bench.said("shard finished")
    assert (shard["rows"], shard["failed"], shard["version"]) == (4, 1, 1)
    assert shard["rows_per_second"] > 0
    assert shard["tokens_per_second"] > 0
    assert len(bench.trace("load")) == 1


def test_a_time_limit_ends_the_step_and_is_no_row_s_error(bench: Any) -> None:
    bench.gate.touch()
    bench.start(STEP_ATTEMPTS="1")
    rq_id = bench.rq("--timeout", "1", EMBED_FILE, str(bench.write(10)), str(bench.folder / "출력"))
    job = bench.finish(rq_id, "failed")
    assert "took longer than 1 s" in job.message
    assert not bench.parts()
    assert not list((bench.folder / "출력" / ".munjang").glob("errors/*"))


def test_a_time_limit_holds_also_where_something_caught_it(bench: Any) -> None:
    bench.gate.touch()
    (bench.folder / "deaf").touch()
    bench.start(STEP_ATTEMPTS="1")
    rq_id = bench.rq("--timeout", "1", EMBED_FILE, str(bench.write(1000)), str(bench.folder / "출력"))
    bench.until(lambda: bench.trace("deaf"), "a time-out that is caught")
    bench.gate.unlink()
    assert "took longer than 1 s" in bench.finish(rq_id, "failed").message
    assert len(bench.trace("forward")) == 1


def test_a_step_without_a_time_limit_is_taken_for_what_it_is(bench: Any) -> None:
    bench.start()
    bench.finish(bench.rq("--timeout", "-1", EMBED_FILE, str(bench.write(1000)), str(bench.folder / "출력")))


def test_a_job_fails_past_its_error_rate_and_succeeds_below_it(bench: Any) -> None:
    path = bench.folder / "입력.txt"
    path.write_text("".join("문장\n" if number % 4 else "\n" for number in range(400)), encoding="utf-8")
    bench.start()
    strict = bench.finish(bench.submit(path, "엄격", max_error_rate=0.2), "failed")
    assert "100 of 400 rows failed" in strict.message
    assert (bench.folder / "엄격" / "errors.jsonl").read_text(encoding="utf-8").count("EMPTY_TEXT") == 100
    relaxed = bench.finish(bench.submit(path, "느슨", max_error_rate=0.25))
    assert relaxed.progress.rows_failed == 100
    again = bench.finish(bench.submit(path, "엄격", max_error_rate=0.3))
    assert again.id == strict.id


def test_jobs_stay_within_the_roots(bench: Any) -> None:
    (bench.folder / "안").mkdir()
    inside = bench.write(3, "안/입력.jsonl")
    outside = bench.write(3)
    root = str(bench.folder / "안")
    bench.start(INPUT_ROOTS=root, OUTPUT_ROOTS=root)
    bench.finish(bench.submit(inside, "안/출력"))
    assert "outside" in bench.finish(bench.submit(outside, "안/출력2"), "failed").message
    rq_id = bench.rq(EMBED_FILE, str(inside), str(bench.folder / "출력"))
    assert "outside" in bench.finish(rq_id, "failed").message
    assert not (bench.folder / "출력").exists()


def test_a_job_waits_for_its_time_where_rq_gave_it_one(bench: Any) -> None:
    path = bench.write(3)
    bench.start()
    queue = Queue(QUEUE, connection=bench.redis, serializer=PlainJson)
    options = {"output": str(bench.folder / "출력")}
    job = queue.enqueue_in(timedelta(seconds=1), EMBED_FILE, str(path), **options)
    bench.finish(job.id)
    late = queue.enqueue(EMBED_FILE, str(path), str(bench.folder / "없음" / "\0"), retry=Retry(max=1, interval=1))
    bench.until(lambda: late.get_status() == "failed", "the failure")


def test_progress_can_be_read_while_a_job_runs(bench: Any) -> None:
    port = free_port()
    job_id, worker = begun(bench, WORKER_METRICS_PORT=str(port))
    assert {'munjang_queue_steps{state="running"} 1.0', 'munjang_queue_steps{state="waiting"} 2.0'} <= set(
        metrics(port)
    )
    assert bench.queue.depth() == (2, 1)
    job = bench.until(
        lambda: (found := bench.queue.get(job_id)).progress.shards_running and found, "a shard that is told of"
    )
    assert job.version == 1
    assert job.progress.rows_total == 4000
    assert job.progress.shards_total == 4
    assert job.progress.shards_done >= 1
    assert 1024 <= job.progress.rows_done < 4000
    assert job.progress.tokens_done > 0
    assert job.progress.rows_per_second > 0
    assert job.progress.seconds_left > 0
    rq_job = Job.fetch(job_id, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: rq_job.get_meta().get("shards_total") == 4, "meta data for dashboards")
    bench.gate.unlink()
    bench.finish(job_id)
    assert worker.poll() is None
