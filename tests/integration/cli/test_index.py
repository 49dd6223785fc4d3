"""`munjang index` from a job's folder to a search, an update, another version and a check, on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from munjang.bulk.job import JobSpec
from munjang.client import Client
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from munjang_worker.finalize_job import check_shards, write_manifest
from munjang_worker.plan_job import PlanSettings, make_plan
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder
from tests.ports import free_port

COUNT = 120


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def registry(tmp_path):
    """Two versions of different weights; `stable` names the first, `next` the second."""
    found = Registry(str(tmp_path / "registry"))
    prompts = {"query": "질문: ", "document": "문서: "}
    for seed in (0, 1):
        publish_model(found, tiny_model(tmp_path / f"model-{seed}", seed=seed, prompts=prompts))
    found.promote("stable", 1)
    found.promote("next", 2)
    return found


@pytest.fixture
def server(registry, tmp_path):
    """The address of a server of both versions."""
    port = free_port()
    settings = {"HOME": tmp_path / "home", "REGISTRY": registry.url, "PORT": port, "RUNTIME": "torch"}
    settings |= {"ALIASES": "stable,next", "COMPUTE_TYPE": "float32"}
    environment = os.environ | {f"MUNJANG_{name}": str(value) for name, value in settings.items()}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "munjang_server"], env=environment, stdout=log, stderr=log)
        try:
            with Client(f"127.0.0.1:{port}") as client:
                client.wait_ready(120)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture
def vectors(registry, tmp_path):
    """The folder of a job that embedded documents by version 1, and the rows."""
    rows = [{"id": f"글-{n}", "text": f"{n}번째 문장은 {n * 7} 이야기다", "title": f"제목 {n}"} for n in range(COUNT)]
    source = write(tmp_path / "corpus.jsonl", rows)
    options = {"version": "1", "role": "document", "carry_columns": ["text", "title"]}
    spec = JobSpec.of_call((str(source), str(tmp_path / "vectors")), options)
    folder = Folder(spec.output)
    plan = make_plan(spec, registry.manifest(1), folder, PlanSettings((), 1024, 4096), lambda: None)
    plan.save(folder)
    encoder = load_encoder(registry.local_folder(1), LoadOptions(device="cpu", runtime="torch"))
    job = ShardJob(plan, 0, folder, "시험")
    job.run(encoder, max_chars=10_000, poll=lambda: None, report=lambda _: None)
    write_manifest(plan, check_shards(plan, folder, lambda: None, deep=True)[0], folder)
    return tmp_path / "vectors", rows


def test_an_index_is_loaded_searched_updated_moved_and_checked(run, server, registry, vectors, tmp_path):
    folder, rows = vectors
    index, target = tmp_path / "faq.lance", ("--target", server)
    aliased = ("--registry", registry.url)
    loaded = run("index", "load", folder, index, "--json").json()
    assert (loaded["rows"], loaded["switched"]) == (COUNT, True)

    hits = run("index", "search", index, rows[5]["text"], "-k", "3", *target, "--json").json()
    assert len(hits) == 3
    assert {hit["version"] for hit in hits} == {1}
    assert "제목" in run("index", "search", index, "이야기", *target).out

    rows[0]["text"] = "아주 새로운 문장"
    corpus = write(tmp_path / "corpus.jsonl", rows[:-1])
    update = run("index", "update", index, corpus, *target, "--json").json()
    assert (update["reused"], update["embedded"], update["deleted"]) == (COUNT - 2, 1, 1)

    sound = run("index", "check", index, *target, *aliased, "--json").json()
    assert (sound["checked"], sound["right"]) == (COUNT - 1, COUNT - 1), sound

    page = tmp_path / "page.md"
    refused = run("index", "rollover", index, "--to", "2", "--yes-if", "overlap>=1.1", *target, *aliased)
    assert refused.status == 1
    assert "does not hold" in refused.err
    moved = run("index", "rollover", index, "--to", "2", "--yes", "--page", page, *target, *aliased, "--json").json()
    assert moved["queries"] > 100
    assert "recall@10" in page.read_text()
    assert registry.resolve("stable") == 2
    with Client(server) as client:
        while client.aliases()["stable"].serving != 2:
            client.wait_ready(10)
    hits = run("index", "search", index, "이야기", *target, "--json").json()
    assert {hit["version"] for hit in hits} == {2}
    status = run("index", "status", index, "--json").json()
    assert [one["rows"] for one in status["tables"]] == [COUNT - 1, COUNT - 1]

    back = run("index", "rollback", index, *aliased, "--json").json()
    assert back["current"] == status["previous"]
    assert registry.resolve("stable") == 1
    assert run("index", "retire", index, *aliased, "--json").json()["dropped"] == [status["current"]]


def test_what_is_no_index_is_refused_with_what_to_write(run, tmp_path):
    refused = run("index", "status", "postgresql://localhost/faq")
    assert refused.status == 1
    assert "postgresql://host/database/faq" in refused.err
    assert "names no store" in run("index", "status", tmp_path / "faq.txt").err
    assert "cannot name an index" in run("index", "status", tmp_path / "질문.lance").err
    assert "load a job's folder first" in run("index", "status", tmp_path / "faq.lance").err
    assert "holds no manifest.json" in run("index", "load", tmp_path, tmp_path / "faq.lance").err
