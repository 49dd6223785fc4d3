"""One kind of job, whatever way it comes; the same work is done once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job, JobStatus

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.bulk.job import JOBS, WAITING, JobSpec, job_key, new_fields, rq_key
from munjang.bulk.serializer import PlainJson
from munjang.cli.main import main
from munjang.client.jobs import JobQueue
from munjang.errors import InvalidJob, JobNotFound, QueueUnavailable

RQ = Path(sys.executable).with_name("rq")


def test_rq_s_command_line_our_own_queue_and_python_make_the_same_files(bench: Any) -> None:
    path = bench.write(1500)
    bench.start()
    ids = [
        bench.rq(EMBED_FILE, str(path), str(bench.folder / "피클"), "precision=int8"),
        bench.rq("-S", "json", EMBED_FILE, str(path), str(bench.folder / "제이슨"), "precision=int8"),
        bench.submit(path, "파이썬", precision="int8"),
    ]
    for job_id in ids:
        bench.finish(job_id)
    found = [[part.read_bytes() for part in bench.parts(name)] for name in ("피클", "제이슨", "파이썬")]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2
    assert [row["id"] for row in bench.rows("피클")] == list(range(1500))


OPTIONS = {
    "version": "1",
    "role": "document",
    "prompt": "찾기: ",
    "normalize": False,
    "dimensions": 4,
    "precision": "float16",
    "truncation": "none",
    "text_column": "본문",
    "id_column": "번호",
    "carry_columns": ("제목", "날짜"),
    "format": "npy",
    "max_error_rate": 0.25,
    "input_format": "csv",
    "encoding": "cp949",
    "quoting": "none",
    "shard_rows": 2048,
}
FLAGS = [
    *("--version", "1", "--role", "document", "--prompt-text", "찾기: ", "--no-normalize", "--dimensions", "4"),
    *("--precision", "float16"),
    *("--truncation", "none", "--text-column", "본문", "--id-column", "번호", "--carry", "제목", "--carry", "날짜"),
    *("--format", "npy", "--max-error-rate", "0.25", "--input-format", "csv", "--encoding", "cp949"),
    *("--quoting", "none", "--shard-rows", "2048"),
]


def test_every_option_means_the_same_by_every_way_in_and_the_work_is_one_job(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert OPTIONS.keys() == JobSpec.model_fields.keys() - {
        "input",
        "output",
        "prompt_name",
        "to",
    }  # two not beside others
    source, output = "/in.csv", str(bench.folder / "출력")
    written = OPTIONS | {"carry_columns": "제목,날짜"}
    words = [f"{name}={value}" for name, value in written.items() if name != "normalize"] + ["normalize=false"]
    assert main(["jobs", "submit", "--redis", bench.url, source, output, *FLAGS]) == 0
    job = bench.queue.get(capsys.readouterr().out.strip())
    typed = [":" + json.dumps(source), output, *(f"{name}:={json.dumps(OPTIONS[name])}" for name in OPTIONS)]
    for rq_id in (
        bench.rq(EMBED_FILE, source, output, *words),
        bench.rq("-S", "json", EMBED_FILE, *typed),
        Queue(QUEUE, connection=bench.redis).enqueue(EMBED_FILE, source, output=output, **OPTIONS).id,
    ):
        assert bench.queue.get(rq_id) == job
    assert bench.queue.submit(JobSpec.of_call((source, output), OPTIONS)) == (job, True)
    assert {name: getattr(job.spec, name) for name in OPTIONS} == OPTIONS
    assert [found.id for found in bench.queue.recent()] == [job.id]


def test_rq_s_own_programs_read_results_and_progress_in_the_format_that_they_sent(bench: Any) -> None:
    path = bench.write(10)
    bench.start()
    for options, serializer in (((), "pickle"), (("-S", "json"), "json")):
        rq_id = bench.rq(*options, EMBED_FILE, str(path), str(bench.folder / serializer))
        bench.finish(rq_id)
        job = Job.fetch(rq_id, connection=bench.redis, serializer=serializer)
        bench.until(lambda job=job: job.get_meta().get("state") == "succeeded", "meta data of the end")
        bench.until(lambda job=job: job.get_status() == "finished", "the end for RQ")
        assert job.return_value()["rows"] == 10
        assert job.meta["rows_done"] == 10
    wrong = bench.rq(EMBED_FILE, str(path), str(bench.folder / "없음"), "text_column=본문")
    bench.finish(wrong, "failed")
    job = Job.fetch(wrong, connection=bench.redis, serializer="pickle")
    bench.until(lambda: job.get_meta().get("state") == "failed", "meta data of the failure")
    shown = subprocess.run([RQ, "info", "--url", bench.url], check=True, capture_output=True, text=True, timeout=60)
    assert "munjang" in shown.stdout
    assert "1 workers, 1 queues" in shown.stdout


def test_work_that_is_queued_or_running_is_not_done_twice(bench: Any) -> None:
    path = bench.write(3000)
    bench.gate.touch()
    first = bench.submit(path)
    assert bench.submit(path) == first
    assert bench.queue.depth() == (1, 0)
    worker = bench.start()
    bench.forwarding(worker)
    spec = bench.queue.get(first).spec
    assert bench.queue.submit(spec)[1] is True
    by_rq = bench.rq(EMBED_FILE, str(path), str(bench.folder / "출력"))
    bench.gate.unlink()
    bench.finish(first)
    forwards = len(bench.trace("forward"))
    assert bench.queue.get(by_rq).id == first
    rq_job = Job.fetch(by_rq, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: rq_job.get_status() == "finished", "the end of what RQ enqueued")
    assert bench.finish(bench.submit(path)).message == "nothing was left to do"
    assert len(bench.trace("forward")) == forwards


def test_a_job_that_rq_enqueued_is_seen_before_a_worker_takes_it(bench: Any) -> None:
    rq_id = bench.rq(EMBED_FILE, "/in.jsonl", str(bench.folder / "출력"), "precision=int8")
    [job] = bench.queue.recent()
    assert job.state == "queued"
    assert job.spec.precision == "int8"
    assert bench.queue.get(rq_id) == bench.queue.get(job.id) == job
    assert bench.queue.cancel(rq_id).state == "cancelled"
    assert bench.queue.depth() == (0, 0)
    assert bench.redis.ttl(f"rq:job:{rq_id}") > 0


def test_looking_at_a_job_at_the_moment_that_a_worker_takes_it_changes_nothing(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rq_id = bench.rq(EMBED_FILE, "/in.jsonl", str(bench.folder / "출력"))
    taken = {"state": "running", "rq_id": rq_id, "created_at": "1", "started_at": "2"}

    def fields(spec: JobSpec, rq_id: str, now: float) -> dict[str, Any]:
        bench.redis.hset(job_key(spec.job_id), mapping=taken | {"spec": spec.model_dump_json()})
        bench.redis.zadd(JOBS, {spec.job_id: 1})
        return new_fields(spec, rq_id, now)

    monkeypatch.setattr("munjang.client.jobs.new_fields", fields)
    assert bench.queue.get(rq_id).state == "running"
    [job] = bench.queue.recent()
    assert job.state == "running"


def test_work_that_rq_enqueues_again_is_seen_to_wait_and_what_is_forgotten_is_not(bench: Any) -> None:
    path = bench.write(3)
    worker = bench.start()
    first = bench.rq(EMBED_FILE, str(path), str(bench.folder / "출력"))
    job_id = bench.finish(first).id
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    again = bench.rq(EMBED_FILE, str(path), str(bench.folder / "출력"))
    assert bench.queue.get(again).state == "queued"
    assert bench.queue.get(again).id == job_id
    bench.start()
    assert bench.finish(again).message == "nothing was left to do"
    rq_job = Job.fetch(again, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: rq_job.get_status() == "finished", "the end for RQ, too")
    bench.redis.delete(job_key(job_id), rq_key(again))
    with pytest.raises(JobNotFound, match="no longer remembered"):
        bench.queue.get(again)


def test_jobs_are_listed_newest_first_and_in_pages(bench: Any) -> None:
    path = bench.write(1)
    ids = [bench.submit(path, f"출력{number}") for number in range(5)]
    assert [job.id for job in bench.queue.recent()] == ids[::-1]
    assert [job.id for job in bench.queue.recent(limit=2, offset=1)] == [ids[3], ids[2]]
    bench.redis.delete(f"rq:queue:{QUEUE}", job_key(ids[4]), job_key(ids[2]))
    assert [job.id for job in bench.queue.recent(limit=2)] == [ids[3], ids[1]]
    assert [job.id for job in bench.queue.recent(limit=2, offset=2)] == [ids[0]]


def test_an_unknown_job_or_a_wrong_one_is_told_as_such(bench: Any) -> None:
    with pytest.raises(JobNotFound):
        bench.queue.get("job-0000")
    with pytest.raises(JobNotFound):
        bench.queue.get("../etc/passwd")
    rq_id = bench.rq(EMBED_FILE, "/in.jsonl", "precison=int8")
    with pytest.raises(InvalidJob, match="precison"):
        bench.queue.get(rq_id)
    assert bench.queue.recent() == []


def test_a_wrong_option_fails_the_rq_job_with_the_reason(bench: Any) -> None:
    bench.start()
    rq_id = bench.rq(EMBED_FILE, "/in.jsonl", str(bench.folder / "출력"), "dimensions=viele")
    job = Job.fetch(rq_id, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: job.get_status() == "failed", "the refusal")
    assert "dimensions" in job.latest_result().exc_string


def test_a_job_that_names_the_function_as_former_releases_did_is_seen_and_done(bench: Any) -> None:
    former = EMBED_FILE.removeprefix("munjang_")
    path = bench.write(5)
    rq_id = bench.rq(former, str(path), str(bench.folder / "출력"))
    assert bench.queue.get(rq_id).state == "queued"
    bench.start()
    bench.finish(rq_id)
    assert [row["id"] for row in bench.rows()] == list(range(5))
    wrong = bench.rq(former, str(path), str(bench.folder / "없음"), "text_column=본문")
    assert "본문" in bench.finish(wrong, "failed").message


def test_a_job_of_python_s_own_rq_queue_works_as_well(bench: Any) -> None:
    path = bench.write(5)
    bench.start()
    options = {"precision": "ubinary", "carry_columns": ["text"]}
    job = Queue(QUEUE, connection=bench.redis).enqueue(EMBED_FILE, str(path), str(bench.folder / "출력"), **options)
    bench.finish(job.id)
    assert [row["text"] for row in bench.rows()] == [f"문장 {number}" for number in range(5)]
    assert {len(row["vector"]) for row in bench.rows()} == {1}


def test_without_a_queue_every_call_says_so() -> None:
    queue = JobQueue("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnavailable):
        queue.recent()
    with pytest.raises(QueueUnavailable, match="MUNJANG_REDIS_URL"):
        JobQueue("")
    with pytest.raises(QueueUnavailable):
        JobQueue("http://127.0.0.1")


def test_a_password_in_the_url_is_used_and_never_told(bench: Any) -> None:
    bench.redis.config_set("requirepass", "비밀번호")
    try:
        port = bench.url.rsplit(":", 1)[1]
        assert JobQueue(f"redis://:비밀번호@127.0.0.1:{port}").recent() == []
        with pytest.raises(QueueUnavailable) as caught:
            JobQueue(f"redis://:틀림@127.0.0.1:{port}").recent()
        assert "틀림" not in str(caught.value)
    finally:
        bench.redis.config_set("requirepass", "")


def test_watching_shows_every_change_until_the_end(bench: Any) -> None:
    job_id = bench.submit(bench.write(2500))
    bench.start()
    seen = list(bench.queue.watch(job_id, interval=0.02))
    assert seen[0].state == "queued"
    assert seen[-1].state == "succeeded"
    assert seen[-1].progress.rows_done == seen[-1].progress.rows_total == 2500
    assert seen[-1].progress.shards_done == 3
    assert json.dumps(seen[-1].as_dict())
    counts = [job.progress.rows_done for job in seen]
    assert counts == sorted(counts)


@pytest.mark.parametrize("by", ["ours", "RQ's", "the same work twice"])
def test_what_depends_on_a_job_begins_when_its_last_row_is_written(bench: Any, by: str) -> None:
    path, output = bench.write(3000), bench.folder / "출력"
    bench.gate.write_text(str(output))
    first = bench.submit(path) if by != "RQ's" else bench.rq(EMBED_FILE, str(path), str(output))
    worker = bench.start()
    bench.until(lambda: bench.trace("held"), "the second shard")
    waited = bench.rq(EMBED_FILE, str(path), str(output)) if by == "the same work twice" else first
    job = Job.fetch(waited, connection=bench.redis, serializer=PlainJson)
    after = Queue("mine", connection=bench.redis).enqueue("os.getpid", depends_on=job)
    shown = subprocess.run(
        [RQ, "info", "--url", bench.url, "-R"], check=True, capture_output=True, text=True, timeout=60
    )
    assert "munjang" in shown.stdout
    assert job.get_status() != "finished"
    assert after.get_status() == "deferred"
    assert worker.poll() is None
    bench.gate.unlink()
    bench.until(lambda: after.get_status() == "queued", "the dependent")
    assert (output / "manifest.json").exists()
    assert job.get_status() == "finished"
    assert job.return_value(refresh=True)["rows"] == 3000
    assert bench.redis.zcard(f"rq:deferred:{QUEUE}") == 0
    bench.until(lambda: not bench.redis.hlen(WAITING), "nothing that waits")


def test_a_job_that_failed_in_a_shard_or_was_cancelled_is_so_for_rq_and_its_dependents_wait(bench: Any) -> None:
    path = bench.write(2500)
    bench.gate.touch()
    other = bench.write(2500, "다른 입력.jsonl")
    pairs = [(path, "가"), (path, "나"), (other, "다")]
    ids = [bench.rq(EMBED_FILE, str(source), str(bench.folder / name)) for source, name in pairs]
    bench.start()
    failed, cancelled, by_rq = (Job.fetch(rq_id, connection=bench.redis, serializer=PlainJson) for rq_id in ids)
    dependents = [Queue("mine", connection=bench.redis).enqueue("os.getpid", depends_on=rq_id) for rq_id in ids]
    bench.until(lambda: {job.get_status() for job in (failed, cancelled, by_rq)} == {"deferred"}, "three plans")
    bench.queue.cancel(ids[1])
    by_rq.cancel()
    path.unlink()
    bench.gate.unlink()
    bench.finish(ids[0], "failed")
    bench.until(lambda: failed.get_status() == "failed", "the failure for RQ")
    assert bench.queue.get(ids[0]).message in failed.latest_result().exc_string
    bench.finish(ids[1], "cancelled")
    bench.until(lambda: cancelled.get_status() == "canceled", "the cancellation for RQ")
    assert "RQ" in bench.finish(ids[2], "cancelled").message
    assert [one.get_status() for one in dependents] == ["deferred"] * 3
    bench.until(lambda: not bench.redis.hlen(WAITING), "nothing that waits")


def test_an_rq_job_whose_worker_died_before_it_told_the_end_is_ended_by_another(bench: Any) -> None:
    job_id = bench.submit(bench.write(10))
    worker = bench.start()
    bench.finish(job_id)
    job = Job.fetch(job_id, connection=bench.redis, serializer=PlainJson)
    bench.until(lambda: job.get_status() == "finished", "the end")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    job.set_status(JobStatus.DEFERRED)
    bench.redis.hset(WAITING, job_id, job_id)
    bench.start()
    bench.until(lambda: job.get_status() == "finished", "the end by the maintenance")
