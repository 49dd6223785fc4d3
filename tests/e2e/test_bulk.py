"""A corpus through `rq enqueue` and a real worker with a real model: every row once, with the server's own vectors."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.client import Client
from munjang.client.job_client import JobClient
from munjang.client.jobs import JobQueue
from tests.warming import CACHE_VERSIONS

WAIT = 300
SOME = 2100
"""Sentences of a laptop's run; all 11,498 are embedded in CI, once, and where MUNJANG_TEST_WHOLE is set."""

ASKED = 500
"""So many of them, spread over all, are asked of the server as well."""


@pytest.fixture
def sentences(shared_data, first_redis):
    """Sentences of KorSTS train, both of each pair."""
    lines = (shared_data / "korsts" / "sts-train.tsv").read_text("utf-8").split("\n")[1:]
    rows = [line.split("\t") for line in lines if line]
    assert len(rows) == 5749
    found = [sentence for row in rows for sentence in (row[5], row[6])]
    assert len(found) == 11_498
    whole = first_redis and (os.environ.get("MUNJANG_TEST_WHOLE") or os.environ.get("CI"))
    return found if whole else found[:SOME]


@pytest.fixture
def server(start_server, starter_registry, redis_url):
    """The address of a server on the same model, in front of the same queue."""
    started = start_server(starter_registry, redis_url=redis_url)
    with Client(started.target) as client:
        client.wait_ready(240)
    return started.target


def served(server, texts):
    """Vectors of texts by the server."""
    with Client(server) as client:
        batches = [texts[at : at + 256] for at in range(0, len(texts), 256)]
        return np.concatenate([client.encode(batch, prompt_name="query").vectors for batch in batches])


@pytest.fixture
def start_worker(redis_url, starter_registry, warm_cache, tmp_path):
    """Start a worker on the starter model, with settings as keyword arguments; ended after the test."""
    running = []

    def start(**settings):
        given = {
            "HOME": tmp_path,
            "CACHE": warm_cache,
            "CACHE_VERSIONS": CACHE_VERSIONS,
            "REGISTRY": starter_registry,
            "REDIS_URL": redis_url,
            "SHARD_ROWS": 1024,
        }
        names = {f"MUNJANG_{name}": str(value) for name, value in (given | settings).items()}
        log = (tmp_path / f"worker-{len(running)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "munjang_worker"],
            env={**os.environ, **names, "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


def finished(redis_url, job_id):
    """Wait until a job has ended."""
    limit = time.monotonic() + WAIT
    queue = JobQueue(redis_url)
    while not (job := queue.get(job_id)).state.ended:
        assert time.monotonic() < limit, job
        time.sleep(0.1)
    queue.close()
    assert job.state == "succeeded", job
    return job


def enqueue(redis_url, *arguments):
    """Enqueue by RQ's own command line; the RQ job's id."""
    command = [Path(sys.executable).with_name("rq"), "enqueue", "--url", redis_url, "--queue", QUEUE, EMBED_FILE]
    out = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout
    return out.rsplit("'", 2)[1]


def write_tsv(path, texts):
    """The texts as TSV: with stray quotes, as KorSTS has them."""
    path.write_text("id\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts)), encoding="utf-8")
    return str(path)


@pytest.mark.timeout(900)
def test_korsts_through_rq_has_every_row_once_with_the_server_s_vectors(
    sentences, redis_url, start_worker, server, tmp_path
):
    start_worker()
    path = write_tsv(tmp_path / "korsts.tsv", sentences)
    rq_id = enqueue(redis_url, path, str(tmp_path / "out"), "prompt_name=query")
    with JobClient(server) as jobs:
        seen = list(jobs.watch(rq_id))
        assert jobs.recent() == [seen[-1]]
    assert (seen[-1].state, seen[-1].progress.rows_done) == ("succeeded", len(sentences))
    worked = [job for job in seen if job.progress.shards_running]
    assert worked
    assert {(job.state, job.version, job.progress.rows_total) for job in worked} == {("running", 1, len(sentences))}
    assert all(job.progress.rows_per_second > 0 for job in worked if job.progress.rows_done)
    tables = [pq.read_table(part) for part in sorted((tmp_path / "out").glob("part-*.parquet"))]
    assert [key for table in tables for key in table["id"].to_pylist()] == [str(i) for i in range(len(sentences))]
    assert {table.schema.metadata[b"munjang.version"] for table in tables} == {b"1"}
    vectors = np.concatenate([np.stack(table["vector"].to_numpy()) for table in tables])
    assert vectors.dtype == np.float32
    spread = slice(None, None, -(-len(sentences) // ASKED))
    assert np.einsum("ij,ij->i", vectors[spread], served(server, sentences[spread])).min() >= 0.9999


@pytest.mark.timeout(900)
def test_int8_is_bit_identical_whatever_the_shards_size_and_after_a_killed_worker(
    sentences, first_redis_only, redis_url, start_worker, tmp_path
):
    path = write_tsv(tmp_path / "korsts.tsv", [text + " 그리고" * (i % 8) for i, text in enumerate(sentences[:SOME])])
    hasty = {"HEARTBEAT_SECONDS": 0.5, "LEASE_SECONDS": 2, "MAINTENANCE_SECONDS": 1}
    out = tmp_path / "two"
    first = start_worker(**hasty)
    enqueued = enqueue(redis_url, path, str(out), "precision=int8", "format=npy", "prompt_name=query")
    until = time.monotonic() + WAIT
    while not list(out.glob("part-*.npy")):
        assert time.monotonic() < until
        time.sleep(0.02)
    first.kill()
    first.wait(60)
    assert not (out / "manifest.json").exists(), "the worker was killed too late"
    start_worker(**hasty)
    finished(redis_url, enqueued)
    options = ("precision=int8", "format=npy", "prompt_name=query", "shard_rows=8192")
    finished(redis_url, enqueue(redis_url, path, str(tmp_path / "one"), *options))
    assert digest(out) == digest(tmp_path / "one")
    shards = [json.loads((folder / "manifest.json").read_text("utf-8"))["shards"] for folder in (out, tmp_path / "one")]
    assert [len(each) for each in shards] == [3, 1]


def digest(folder):
    """A digest of the whole matrix of an output."""
    matrix = np.concatenate([np.load(part) for part in sorted(folder.glob("part-*.npy"))])
    assert matrix.dtype == np.int8
    assert len(matrix) == SOME
    return hashlib.sha256(matrix.tobytes()).hexdigest()
