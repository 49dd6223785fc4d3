"""A job that loads its vectors into a search index: a step per shard, killed at any moment, each row there once."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from munjang.index.address import open_sink, parse_address
from munjang.index.tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("first_redis_only")

ROWS = 5000


def check_index(bench: Any, to: Path, rows: int = ROWS) -> None:
    """The index's name means a table with the vectors of the job's folder, each once."""
    address = parse_address(str(to))
    with closing(open_sink(address)) as sink:
        table, layout = Tables(sink, address.name).current()
        ids = sorted(mark.id for piece in sink.marks(table, layout) for mark in piece)
        assert ids == list(range(rows))
        found = sink.fetch(table, layout, ids)
        vectors = dict(zip(found.ids, found.vectors, strict=True))
        for row in bench.rows():
            np.testing.assert_allclose(vectors[row["id"]], row["vector"], atol=1e-6)
        assert sink.records(f"load:{table}:{bench.manifest()['fingerprint'][:16]}") == {}


def test_a_job_loads_its_index_shard_by_shard_by_several_workers(bench: Any) -> None:
    to = bench.folder / "faq.lance"
    for _ in range(2):
        bench.start()
    job = bench.finish(bench.submit(bench.write(ROWS), to=str(to), carry_columns="text"))
    assert job.as_dict()["spec"]["to"] == str(to)
    check_index(bench, to)
    loads = bench.said("shard loaded")
    assert sorted(line["shard"] for line in loads) == list(range(5))
    before = bench.parts()[0].stat().st_mtime_ns
    bench.finish(bench.queue.submit(job.spec)[0].id)
    check_index(bench, to)
    assert bench.parts()[0].stat().st_mtime_ns == before, "the vectors that were there were loaded again"


def test_a_store_of_one_process_is_loaded_one_shard_after_another(bench: Any) -> None:
    to = bench.folder / "faq.db"
    for _ in range(2):
        bench.start()
    bench.finish(bench.submit(bench.write(ROWS), to=str(to)))
    check_index(bench, to)
    assert [line["shard"] for line in sorted(bench.said("shard loaded"), key=lambda line: line["timestamp"])] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_workers_that_are_killed_while_they_load_lose_nothing(bench: Any) -> None:
    to = bench.folder / "faq.lance"
    job = bench.submit(bench.write(3 * ROWS), to=str(to))
    for _ in range(3):
        before = len(bench.said("shard loaded"))
        worker = bench.start()
        bench.until(lambda before=before: len(bench.said("shard loaded")) > before, "a loaded shard")
        worker.send_signal(signal.SIGKILL)
        worker.wait(15)
    bench.start()
    bench.finish(job, seconds=180.0)  # what a dead worker held is taken by another when RQ looks for it
    check_index(bench, to, 3 * ROWS)


def test_what_the_index_cannot_take_fails_the_job_in_words(bench: Any) -> None:
    bench.start()
    path = bench.folder / "twice.jsonl"
    path.write_text("".join(json.dumps({"id": 7, "text": text}) + "\n" for text in "ab"), encoding="utf-8")
    job = bench.submit(path, to=str(bench.folder / "faq.lance"))
    assert "more than one row of id 7" in bench.finish(job, "failed").message
    job = bench.submit(path, output="other", to=str(bench.folder / "faq.xyz"))
    assert "names no store" in bench.finish(job, "failed").message
    assert not bench.parts("other")
