"""Section `bulk`: a file through a real worker and queue, against our encoder on the same texts in process."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from munjang.bulk.job import JobSpec
from munjang.cli.stack import valkey
from munjang.cli.stack.plan import free_port
from munjang.client.jobs import JobQueue
from munjang.encoder.encode import encode
from munjang_worker.plan_job import BLOCK_ROWS
from tests.bench.speed import texts
from tests.bench.speed.stats import interleave, ratio, summary, timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.speed.context import Context

SECONDS = 600


def measure(context: Context) -> dict[str, Any]:
    """Rows a second of a file, from its submission to its last row on disk, warm; and of the bare encoder.

    The encoder is measured twice: on all texts at once, and on the blocks that the worker plans. What lies
    between the two is padding, what lies between the second and the file is the queue, reading and writing.
    """
    some = texts.take(context.texts, 200 if context.quick else 4000)
    folder = context.work / "bulk"
    folder.mkdir()
    _write(folder / "warm.jsonl", some[:100])
    encoder = context.encoder()
    encode(encoder, some[:64])
    parts = [some[at : at + BLOCK_ROWS] for at in range(0, len(some), BLOCK_ROWS)]
    with _queue(folder) as url, _worker(context, url, folder):
        queue = JobQueue(url)
        _finish(queue, folder, "warm")
        names = (f"texts-{number}" for number in itertools.count())
        contestants = {
            "file": lambda: _job(queue, folder, next(names), some),
            "blocks": lambda: {"seconds": timed(lambda: [encode(encoder, part) for part in parts])},
            "whole": lambda: {"seconds": timed(lambda: encode(encoder, some))},
        }
        rounds = interleave(contestants, context.rounds, SECONDS)
        queue.close()
    encoder.close()
    seconds = {name: [found["seconds"] for found in each] for name, each in rounds.items()}
    return {
        "rows": len(some),
        "block_rows": BLOCK_ROWS,
        "seconds": summary(seconds["file"]),
        "seconds_beside_shards": summary([found["beside_shards"] for found in rounds["file"]]),
        "rows_per_second": summary([len(some) / each for each in seconds["file"]]),
        "in_process_per_second": summary([len(some) / each for each in seconds["whole"]]),
        "in_blocks_per_second": summary([len(some) / each for each in seconds["blocks"]]),
        "share_of_in_process": ratio(seconds["whole"], seconds["file"]),
        "share_of_blocks": ratio(seconds["blocks"], seconds["file"]),
    }


def _job(queue: JobQueue, folder: Path, name: str, some: list[str]) -> dict[str, float]:
    """Seconds of one job over some texts, and how many of them no shard was worked on."""
    _write(folder / f"{name}.jsonl", some)
    job = _finish(queue, folder, name)
    manifest = json.loads((folder / name / "manifest.json").read_text("utf-8"))
    whole = (job.ended_at - job.created_at).total_seconds()
    return {"seconds": whole, "beside_shards": whole - sum(shard["seconds"] for shard in manifest["shards"])}


def _write(path: Path, some: list[str]) -> None:
    lines = (json.dumps({"id": number, "text": text}, ensure_ascii=False) for number, text in enumerate(some))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _finish(queue: JobQueue, folder: Path, name: str) -> Any:
    job, _ = queue.submit(JobSpec(input=str(folder / f"{name}.jsonl"), output=str(folder / name)))
    limit = time.monotonic() + SECONDS
    while not (job := queue.get(job.id)).state.ended and time.monotonic() < limit:
        time.sleep(0.05)
    if job.state != "succeeded":
        raise RuntimeError(f"the bulk job {job.state}: {job}")
    return job


@contextmanager
def _queue(folder: Path) -> Iterator[str]:
    port = free_port()
    command = valkey.command(valkey.find_binary(), port, folder)
    with _process(command, folder / "valkey.log", {}):
        limit = time.monotonic() + 30
        while not valkey.ready(port) and time.monotonic() < limit:
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _worker(context: Context, url: str, folder: Path) -> Iterator[None]:
    environment = {
        "MUNJANG_HOME": str(context.home),
        "MUNJANG_REGISTRY": context.registry,
        "MUNJANG_REDIS_URL": url,
        "MUNJANG_DEVICE": "cpu",
    }
    with _process([sys.executable, "-m", "munjang_worker"], folder / "worker.log", environment):
        yield


@contextmanager
def _process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment}, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
