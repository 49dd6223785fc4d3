"""Planning and running jobs in this process, without Redis: a version, a fake encoder, and what lies in a folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from munjang.bulk.job import JobSpec
from munjang.registry.layout import Manifest
from munjang.testing import FakeEncoder
from munjang_worker.finalize_job import check_shards, write_manifest
from munjang_worker.plan_job import PlanSettings, make_plan
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_worker.plan import Plan

BLOCK = 1024


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        dimensions=8,
        max_tokens=128,
        prompts={"query": "질문: "},
        int8_scale=1 / 127,
        version=7,
        space_id="5a" * 16,
        created_at=datetime.now(UTC),
        files=(),
    )


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder(seed=7)


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "출력")


@pytest.fixture
def plan_of(manifest: Manifest, output: str) -> Callable[..., Plan]:
    """Plan a job on an input; options as a user gives them."""

    def plan(path: Path | str, *, shard_rows: int = BLOCK, batch_tokens: int = 4096, **options: Any) -> Plan:
        spec = JobSpec.of_call((str(path), options.pop("output", output)), options)
        settings = PlanSettings(input_roots=(), shard_rows=shard_rows, batch_tokens=batch_tokens)
        made = make_plan(spec, manifest, Folder(spec.output), settings, lambda: None)
        made.save(Folder(spec.output))
        return made

    return plan


@pytest.fixture
def run(plan_of: Callable[..., Plan], encoder: FakeEncoder) -> Callable[..., dict[str, Any]]:
    """Do a whole job; its manifest."""

    def work(path: Path | str, **options: Any) -> dict[str, Any]:
        plan = plan_of(path, **options)
        folder = Folder(plan.spec.output)
        for number in range(len(plan.shards)):
            job = ShardJob(plan, number, folder, "시험")
            job.run(encoder, max_chars=100_000, poll=lambda: None, report=lambda _: None)
        results, missing = check_shards(plan, folder, lambda: None, deep=True)
        assert not missing
        return write_manifest(plan, results, folder)

    return work


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[list[Any]], Path]:
    """Write rows as JSONL."""
    return lambda rows: write_jsonl(tmp_path / "입력.jsonl", rows)


@pytest.fixture
def rows_of(output: str) -> Callable[[], list[dict[str, Any]]]:
    """The rows of a Parquet output, in the order of its files."""

    def read() -> list[dict[str, Any]]:
        parts = sorted(Path(output).glob("part-*.parquet"))
        return [row for part in parts for row in pq.read_table(part).to_pylist()]

    return read


@pytest.fixture
def errors_of(output: str) -> Callable[[], list[dict[str, Any]]]:
    """The rows of the error file."""

    def read() -> list[dict[str, Any]]:
        lines = (Path(output) / "errors.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read
