"""The output folder is the truth of a job: whose it is, what is finished in it, what must not be touched or read."""

from __future__ import annotations

import gzip
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from rq import Queue

from munjang.bulk import EMBED_SHARD, QUEUE
from munjang.bulk.job import job_key
from munjang.bulk.serializer import PlainJson
from munjang_worker.plan import load_plan
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("first_redis_only")


def stamps(bench: Any) -> dict[str, tuple[int, int]]:
    return {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in bench.parts()}


def test_two_jobs_do_not_work_in_one_folder_at_a_time(bench: Any) -> None:
    bench.gate.touch()
    path = bench.write(100)
    first = bench.submit(path, version="stable")
    bench.forwarding(bench.start())
    bench.start()
    second = bench.submit(path, version="1")
    assert f"{first} is at work" in bench.finish(second, "failed").message
    bench.gate.unlink()
    bench.finish(first)
    assert [row["id"] for row in bench.rows()] == list(range(100))
    kept = stamps(bench)
    assert bench.finish(bench.queue.retry(second).id).message == "nothing was left to do"
    assert stamps(bench) == kept


def test_a_part_that_is_lost_after_the_end_is_made_again_alone(bench: Any) -> None:
    path = bench.folder / "입력.txt"
    path.write_text("".join(f"{number}\n" if number % 100 else "\n" for number in range(3000)), encoding="utf-8")
    bench.start()
    bench.finish(bench.submit(path))
    whole, kept = bench.rows(), stamps(bench)
    errors = (bench.folder / "출력" / "errors.jsonl").read_bytes()
    assert errors.count(b"EMPTY_TEXT") == 30
    bench.parts()[1].unlink()
    bench.finish(bench.submit(path))
    assert bench.rows() == whole
    assert (bench.folder / "출력" / "errors.jsonl").read_bytes() == errors
    assert {name for name, stamp in stamps(bench).items() if stamp != kept[name]} == {"part-00001.parquet"}


def test_what_is_left_out_of_the_input_is_told_by_the_job(bench: Any) -> None:
    folder = bench.folder / "자료"
    folder.mkdir()
    (folder / "a.txt").write_text("하나\n", encoding="utf-8")
    for name in ("b.log", "c.log"):
        (folder / name).touch()
    bench.start()
    told = f"left out: '{folder}/b.log' (its suffix is not known; input_format would name the format) and 1 more"
    assert bench.finish(bench.submit(folder)).message == told
    manifest = json.loads((bench.folder / "출력" / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in manifest["left_out"]] == [f"{folder}/b.log", f"{folder}/c.log"]


def test_a_compressed_input_is_not_left_in_the_output(bench: Any) -> None:
    path = bench.folder / "입력.txt.gz"
    path.write_bytes(gzip.compress("하나\n둘\n".encode()))
    bench.start()
    for message in ("", "nothing was left to do"):
        assert bench.finish(bench.submit(path)).message == message
        assert not (bench.folder / "출력" / ".munjang" / "input").exists()


def test_a_worker_that_stood_still_does_not_touch_what_another_has_committed(bench: Any) -> None:
    bench.gate.touch()
    first = bench.start()
    job_id = bench.submit(bench.write(100))
    bench.until(lambda: bench.trace("held"), "a forward")
    first.send_signal(signal.SIGSTOP)
    bench.gate.unlink()
    bench.start()
    bench.finish(job_id)
    kept, manifest = stamps(bench), bench.manifest()
    first.send_signal(signal.SIGCONT)
    [line] = bench.until(lambda: bench.said("step interrupted"), "the late step's end")
    assert "another worker" in line["why"]
    assert stamps(bench) == kept
    assert bench.manifest() == manifest
    assert bench.state(job_id) == "succeeded"
    assert first.poll() is None


@pytest.fixture
def confined(bench: Any) -> Path:
    """A place that jobs may use, beside a secret that they may not read, with a worker that is told so."""
    root = bench.folder / "안"
    root.mkdir()
    (bench.folder / "비밀.txt").write_text("비밀번호\n", encoding="utf-8")
    bench.start(INPUT_ROOTS=str(root), OUTPUT_ROOTS=str(root))
    return root


@pytest.mark.parametrize("way", ["url", "staged"])
def test_a_plan_that_somebody_changed_leads_nowhere_else(bench: Any, confined: Path, way: str) -> None:
    job_id = bench.submit(bench.write(3, "안/입력.txt"), "안/출력")
    bench.finish(job_id)
    folder = Folder(str(confined / "출력"))
    plan = json.loads(folder.read(".munjang/plan.json"))
    if way == "url":
        plan["files"][0]["url"] = str(bench.folder / "비밀.txt")
    else:
        plan["shards"][0]["segments"][0]["staged"] = "../../비밀.txt"
    folder.write(".munjang/plan.json", json.dumps(plan).encode())
    folder.remove("part-00000.parquet")
    folder.remove(".munjang/shards/000000.json")
    fingerprint = load_plan(folder).fingerprint
    bench.redis.hset(job_key(job_id), "state", "running")
    queue = Queue(QUEUE, connection=bench.redis, serializer=PlainJson)
    queue.enqueue(EMBED_SHARD, job_id, folder.url, fingerprint, 0)
    job = bench.finish(job_id, "failed")
    assert ("outside" if way == "url" else "leads out") in job.message


@pytest.mark.parametrize("name", [".munjang", ".munjang/tmp", ".munjang/shards"])
def test_a_link_out_of_the_output_folder_is_not_followed(bench: Any, confined: Path, name: str) -> None:
    elsewhere = bench.folder / "다른 곳"
    elsewhere.mkdir()
    link = confined / "출력" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    job = bench.finish(bench.submit(bench.write(3, "안/입력.txt"), "안/출력"), "failed")
    assert "leads out" in job.message
    assert not any(elsewhere.iterdir())
