"""How much memory and disk each program takes, for docs/sizing.md and the requests and limits of the manifests.

Writes docs/bench/memory.json: bytes of real processes with the starter model. "rest" is resident memory, shared pages
counted once; "peak" is the highest resident memory so far of a process and those that it started, such as the one that
converts a model. How busy the machine is changes none of it.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from munjang.bulk.job import JobSpec
from munjang.cli.stack.plan import answers, free_port
from munjang.cli.whitening import add_whitening
from munjang.client import Client
from munjang.client.jobs import JobQueue
from munjang.korean import PARAGRAPH, SENTENCES
from munjang.publishing import publish_model
from munjang.registry import Registry

OUT = Path(__file__).parents[2] / "docs" / "bench" / "memory.json"
QUICK = bool(os.environ.get("MUNJANG_BENCH_QUICK"))
CALLERS = 4 if QUICK else 32
CALLS = 1 if QUICK else 2
ROWS = 512 if QUICK else 4096
LIMIT = 600


def until(condition, what):
    limit = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < limit, what
        time.sleep(0.05)
    return found


class Process:
    """A program of ours, and what it takes."""

    def __init__(self, *arguments, **settings):
        environment = os.environ | {f"MUNJANG_{name.upper()}": str(value) for name, value in settings.items()}
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._own = psutil.Process(self._process.pid)
        self._highest = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while self._process.poll() is None:
            with suppress(psutil.Error):
                family = [self._own, *self._own.children(recursive=True)]
                self._highest = max(self._highest, sum(one.memory_info().rss for one in family))
            time.sleep(0.05)

    def rest(self):
        time.sleep(1 if QUICK else 5)  # what was needed once is given back by now
        return self._own.memory_full_info().pss

    def peak(self):
        return self._highest

    def end(self):
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0

    def wait(self):
        assert self._process.wait(LIMIT) == 0


def size(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def home(tmp_path):
    """A home whose registry holds the starter model, behind stable, and another model of its size."""
    first = Process("-m", "munjang_trainer", "starter", home=tmp_path)
    first.wait()
    registry = Registry(str(tmp_path / "registry"))
    with Client(f"127.0.0.1:{(port := free_port())}") as client:
        server = Process("-m", "munjang_server", home=tmp_path, port=port, aliases="stable")
        client.wait_ready(LIMIT)
        vectors = client.encode(SENTENCES).vectors
        server.end()
    add_whitening(registry.local_folder(1), tmp_path / "second", vectors)
    publish_model(registry, tmp_path / "second")
    return tmp_path, registry, first.peak()


def load(target):
    """Long texts from many callers at a time."""

    def call():
        with Client(target, timeout=LIMIT) as client:
            for _ in range(CALLS):
                client.encode([PARAGRAPH] * 8)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def of_server(home, registry, cache):
    """A pod's life, which begins with an empty cache: load, a swap; and a start where all is in the cache."""
    port = free_port()
    target = f"127.0.0.1:{port}"
    server = Process("-m", "munjang_server", home=home, port=port, cache=cache)
    with Client(target, timeout=LIMIT) as client:
        client.wait_ready(LIMIT)
        found = {"first_start_peak": server.peak(), "rest_after_first_start": server.rest()}
        load(target)
        found |= {"load_peak": server.peak(), "rest_after_load": server.rest()}
        registry.promote("stable", 2, "benchmark")
        until(lambda: client.aliases()["stable"].serving == 2, "the swap")
        found |= {"swap_peak": server.peak(), "rest_with_previous": server.rest()}
        server.end()
        server = Process("-m", "munjang_server", home=home, port=port, cache=cache)
        client.wait_ready(LIMIT)
        found |= {"start_peak": server.peak(), "rest": server.rest()}
    server.end()
    return found


def of_worker(home, cache, url):
    """A job of sentences and long texts."""
    (home / "corpus.jsonl").write_text(
        "".join(
            json.dumps({"id": number, "text": PARAGRAPH if number % 64 == 0 else SENTENCES[number % len(SENTENCES)]})
            + "\n"
            for number in range(ROWS)
        ),
        encoding="utf-8",
    )
    port = free_port()
    worker = Process("-m", "munjang_worker", home=home, cache=cache, redis_url=url, worker_metrics_port=port)
    queue = JobQueue(url)
    until(lambda: answers("127.0.0.1", port), "the worker")
    found = {"rest_before_a_job": worker.rest()}
    job, _ = queue.submit(JobSpec(input=str(home / "corpus.jsonl"), output=str(home / "out")))
    until(lambda: queue.get(job.id).state.ended, "the job")
    assert queue.get(job.id).state == "succeeded"
    queue.close()
    found |= {"job_peak": worker.peak(), "rest_with_model": worker.rest()}
    worker.end()
    return found


@pytest.mark.timeout(3600)
def test_what_each_program_takes(home, redis_url, tmp_path):
    """Measure and write."""
    folder, registry, first_model = home
    cache = tmp_path / "cache-of-the-benchmark"
    version = registry.manifest(1)
    figures = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "model": {
            "name": version.base_model,
            "weights": sum(entry.size for entry in version.files if entry.path.endswith(".safetensors")),
            "version_on_disk": size(folder / "registry" / "versions" / "1"),
        },
        "server": of_server(folder, registry, cache),
        "worker": of_worker(folder, tmp_path / "cache-of-the-worker", redis_url),
        "trainer": {"first_model_peak": first_model},
        "callers": CALLERS,
        "rows": ROWS,
    }
    figures["model"]["export_on_disk"] = max(map(size, (cache / "exports").iterdir()))
    print(json.dumps(figures, indent=2))
    assert figures["server"]["rest"] < figures["server"]["swap_peak"]
    if not QUICK:
        OUT.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
