"""What a bulk job costs beside the model, and what its batches gain; writes docs/bench/bulk.json and bulk.md.

A worker process with a model that takes no time goes through a million rows: its memory and time are the plumbing's.
Then it is looked at while it has nothing to do.
The starter model's own time is measured in the same run on a part of the rows. With MUNJANG_BENCH_QUICK set everything
is small, and nothing is written or held to a figure of speed.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from redis import Redis

from munjang.bulk.job import JobSpec, JobState
from munjang.client.jobs import JobQueue
from munjang.encoder.contract import Prompting
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.sequence_packing import Frame, lay_out, plan
from munjang.engine.version_loader import VersionLoader
from munjang.registry import Registry, fetch
from munjang.settings import WorkerSettings
from munjang_worker.encoding import BlockEncoder, BlockTokenizer
from munjang_worker.plan_job import PlanSettings, make_plan
from munjang_worker.reader import read_pieces
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder
from tests.bench.bulk_page import page

OUT = Path(__file__).parents[2] / "docs" / "bench"
QUICK = bool(os.environ.get("MUNJANG_BENCH_QUICK"))
ROWS = 50_000 if QUICK else 1_000_000
SAMPLE = 512 if QUICK else 16_384
MIXED = 512 if QUICK else 4096
IDLE = 6 if QUICK else 60
"""For so many seconds a worker without work is looked at: several of its heart-beats and looks for dead workers."""

WORDS = [
    "오늘",
    "서울",
    "날씨가",
    "맑고",
    "바람이",
    "조금",
    "불어서",
    "한강",
    "공원에",
    "사람들이",
    "자전거를",
    "타고",
    "있었다",
]
LIMIT = 3600


def sentence(source: random.Random, words: int) -> str:
    """So many words."""
    return " ".join(source.choice(WORDS) for _ in range(words))


def write(path: Path, lengths: list[int]) -> Path:
    """A JSONL file of sentences of so many words."""
    source = random.Random(7)  # noqa: S311 - synthetic texts
    with path.open("w", encoding="utf-8") as file:
        for number, words in enumerate(lengths):
            row = {"id": number, "text": sentence(source, words)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def resident(pid: int) -> int:
    """The resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text().split("\n")
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


def follow(queue: JobQueue, job_id: str, pid: int) -> tuple[int, int]:
    """Wait for a job's end: the worker's memory after the first shard, and the most that it had later."""
    first = most = 0
    until = time.monotonic() + LIMIT
    while not (job := queue.get(job_id)).state.ended:
        assert time.monotonic() < until, job
        if job.progress.shards_done:
            now = resident(pid)
            first, most = first or now, max(most, now)
        time.sleep(0.02)
    assert job.state is JobState.SUCCEEDED, job
    assert first, "the job ended before its memory was measured"
    return first, most


def idle(pid: int, url: str) -> dict[str, float]:
    """What a process that waits for work takes meanwhile, of this machine and of Redis."""
    ticks = os.sysconf("SC_CLK_TCK")

    def taken() -> tuple[float, int]:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        with Redis.from_url(url) as redis:
            commands = redis.info("stats")["total_commands_processed"]
        return (int(fields[11]) + int(fields[12])) / ticks, commands

    (cpu, commands), begun = taken(), time.monotonic()
    time.sleep(IDLE)
    (later, more), seconds = taken(), time.monotonic() - begun
    own = 3  # commands of each look itself: two at connecting, and INFO
    return {
        "seconds": seconds,
        "cpu_share": (later - cpu) / seconds,
        "commands_per_second": (more - commands - own) / seconds,
        "resident_mb": resident(pid) / 1e6,
    }


def plumbing(path: Path, folder: Path, registry: str, url: str) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of one job over all rows by a worker whose model takes no time, and of the worker at rest."""
    settings = {"HOME": folder, "REGISTRY": registry, "REDIS_URL": url, "LOG_FORMAT": "json"}
    names = {f"MUNJANG_{name}": str(value) for name, value in settings.items()}
    program = Path(__file__).with_name("fast_worker.py")
    worker = subprocess.Popen([sys.executable, str(program)], env=os.environ | names, stderr=subprocess.DEVNULL)
    queue = JobQueue(url)
    try:
        job_id = queue.submit(JobSpec(input=str(path), output=str(folder / "out")))[0].id
        first, most = follow(queue, job_id, worker.pid)
        job = queue.get(job_id)
        rest = idle(worker.pid, url)
    finally:
        queue.close()
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    manifest = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["rows_encoded"] == ROWS
    assert job.started_at
    assert job.ended_at
    begun, ended = job.started_at.timestamp(), job.ended_at.timestamp()
    shards = sum(shard["seconds"] for shard in manifest["shards"])
    planned = manifest["created_at"] - begun
    cost = {
        "rows": ROWS,
        "seconds": ended - begun,
        "us_a_row": 1e6 * (ended - begun) / ROWS,
        "planning_us_a_row": 1e6 * planned / ROWS,
        "reading_and_writing_us_a_row": 1e6 * shards / ROWS,
        "queue_and_end_us_a_row": 1e6 * (ended - begun - planned - shards) / ROWS,
        "first_shard_mb": first / 1e6,
        "most_mb": most / 1e6,
        "growth_mb": (most - first) / 1e6,
    }
    return cost, rest


def plan_of(path: Path, folder: Folder, registry: str):
    """A plan for a file, in shards of two blocks."""
    spec = JobSpec(input=str(path), output=folder.url)
    settings = PlanSettings((), 2048, WorkerSettings().batch_tokens)
    return make_plan(spec, Registry(registry).manifest(1), folder, settings, lambda: None)


def model_time(path: Path, folder: Folder, registry: str, encoder) -> float:
    """Seconds a row that the starter model takes for the first rows of a file, tokenising included."""
    plan = plan_of(path, folder, registry)
    prepare = BlockTokenizer(encoder=encoder, how=Prompting(), cut=True, max_chars=10_000)
    encode = BlockEncoder(encoder=encoder, batch_tokens=plan.batch_tokens)
    seconds = rows = 0.0
    for shard in plan.shards:
        for block in read_pieces(plan, shard, folder):
            begun = time.perf_counter()
            rows += len(encode(prepare(block)).positions)
            seconds += time.perf_counter() - begun
            if rows >= SAMPLE:
                return seconds / rows
    return seconds / rows


def file_order(lengths, budget, *, packs):
    """What `munjang.encoder.sequence_packing.plan` does where texts share no rows, without its sorting."""
    batch: list[int] = []
    width = 0
    for position, length in enumerate(lengths):
        if batch and max(width, length) * (len(batch) + 1) > budget:
            yield batch
            batch, width = [], 0
        batch.append(position)
        width = max(width, length)
    if batch:
        yield batch


def padding(registry: str, encoder, patch: pytest.MonkeyPatch):
    """The same model, which gives each text a row."""
    reader = Registry(registry)
    folder = fetch(reader, 1, Path())
    patch.setattr("munjang.encoder.openvino_runtime.convert.find_packing", lambda modules, rules, attention: rules)
    return load_encoder(folder, LoadOptions(device="cpu", compute_type=encoder.compute_type))


def one_frame(lengths, *, packs, start=0):
    """A batch as other programs run it: a row for each text, all as wide as the longest."""
    return (Frame(max(lengths), tuple((text,) for text in range(len(lengths)))),)


def run_shards(path: Path, folder: Folder, registry: str, encoder) -> tuple[float, np.ndarray]:
    """Work on all shards of a file: seconds, and the vectors in the output's order, which is the file's."""
    plan = plan_of(path, folder, registry)
    begun = time.perf_counter()
    for number in range(len(plan.shards)):
        shard = ShardJob(plan, number, folder, "bench")
        shard.run(encoder, max_chars=10_000, poll=lambda: None, report=lambda _: None)
    seconds = time.perf_counter() - begun
    tables = [pq.read_table(part) for part in sorted(Path(folder.url).glob("part-*.parquet"))]
    assert [key for table in tables for key in table["id"].to_pylist()] == list(range(MIXED))
    return seconds, np.concatenate([np.stack(table["vector"].to_numpy()) for table in tables])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")
@pytest.mark.timeout(2 * LIMIT)
def test_bulk(tmp_path, redis_url, starter_registry, monkeypatch) -> None:
    """Measure, write, and hold the figures to what is promised."""
    source = random.Random(3)  # noqa: S311 - synthetic texts
    short = write(tmp_path / "short.jsonl", [source.randint(3, 12) for _ in range(ROWS)])
    cost, rest = plumbing(short, tmp_path / "job", starter_registry, redis_url)

    settings = WorkerSettings(home=tmp_path / "home")
    encoder = VersionLoader(Registry(starter_registry), settings)(1)[1]
    cost["model_us_a_row"] = 1e6 * model_time(short, Folder(str(tmp_path / "model")), starter_registry, encoder)
    cost["share_of_model"] = cost["us_a_row"] / cost["model_us_a_row"]

    lengths = [min(200, max(2, round(math.exp(source.gauss(2.5, 1))))) for _ in range(MIXED)]
    mixed = write(tmp_path / "mixed.jsonl", lengths)
    padded = padding(starter_registry, encoder, monkeypatch)
    rows_a_second, found = {}, {}
    for name, runs, order in (
        ("packed_planned", encoder, plan),
        ("packed_file_order", encoder, file_order),
        ("padded_planned", padded, plan),
        ("padded_file_order", padded, file_order),
    ):
        monkeypatch.setattr("munjang_worker.encoding.plan", order)
        monkeypatch.setattr(
            "munjang.encoder.openvino_runtime.compiled.lay_out", lay_out if runs is encoder else one_frame
        )
        seconds, found[name] = run_shards(mixed, Folder(str(tmp_path / name)), starter_registry, runs)
        rows_a_second[name] = MIXED / seconds
    for each in (encoder, padded):
        each.close()
    least = min(np.einsum("ij,ij->i", found["packed_planned"], vectors).min() for vectors in found.values())
    assert least >= 0.9999
    figures = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "plumbing": cost,
        "idle": rest,
        "sorting": {
            "rows": MIXED,
            "rows_per_second": rows_a_second,
            "least_cosine": float(least),
            "factor_of_sorting": rows_a_second["padded_planned"] / rows_a_second["padded_file_order"],
            "factor": rows_a_second["packed_planned"] / rows_a_second["padded_file_order"],
        },
    }
    print(json.dumps(figures, indent=2))
    text = page(figures)
    assert cost["growth_mb"] < 50
    if QUICK:
        return
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bulk.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / "bulk.md").write_text(text, encoding="utf-8")
    assert cost["share_of_model"] < 0.10
    assert rest["cpu_share"] < 0.01
    assert figures["sorting"]["factor_of_sorting"] >= 1.3
    assert figures["sorting"]["factor"] >= 1.3
