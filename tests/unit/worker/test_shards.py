"""One shard: its batches depend on its texts alone, its failures are told apart, and it is committed once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from munjang.errors import EngineUnavailable
from munjang_worker.finalize_job import check_shards
from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang.testing import FakeEncoder
    from munjang_worker.plan import Plan

    Rows = Callable[[list[Any]], Path]


def sentences(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "text": "가" * (number % 37) + f" {number}"} for number in range(count)]


@pytest.mark.parametrize("shard_rows", [1, 2048, 100_000])
def test_int8_is_bit_identical_whatever_the_shards_size(
    jsonl: Rows, run: Callable[..., Any], tmp_path: Path, shard_rows: int
) -> None:
    path = jsonl(sentences(5000))
    vectors = []
    for name, rows in (("하나", 1024), ("둘", shard_rows)):
        run(path, output=str(tmp_path / name), precision="int8", shard_rows=rows, format="npy")
        parts = sorted((tmp_path / name).glob("part-*.npy"))
        vectors.append(np.concatenate([np.load(part) for part in parts]).tobytes())
    assert vectors[0] == vectors[1]


def test_batches_do_not_depend_on_how_the_input_is_cut(
    jsonl: Rows, run: Callable[..., Any], encoder: FakeEncoder, tmp_path: Path
) -> None:
    path = jsonl(sentences(5000))
    seen = []
    for rows in (1024, 3072):
        encoder.batches.clear()
        run(path, output=str(tmp_path / str(rows)), shard_rows=rows)
        seen.append(sorted(encoder.batches))
    assert seen[0] == seen[1]


def test_batches_do_not_depend_on_how_many_pieces_a_block_is_read_in(
    jsonl: Rows, run: Callable[..., Any], encoder: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Any] = sentences(1500)
    rows[700] = {"id": 700, "text": None}
    path, seen = jsonl(rows), []
    for characters in (1 << 20, 1000):
        monkeypatch.setattr("munjang_worker.reader.PIECE_CHARS", characters)
        encoder.batches.clear()
        out = tmp_path / str(characters)
        run(path, output=str(out), carry_columns="text")
        seen.append((encoder.batches[:], [part.read_bytes() for part in sorted(out.glob("part-*"))]))
        assert json.loads((out / "errors.jsonl").read_text(encoding="utf-8"))["row"] == 700
    assert seen[0] == seen[1]


def test_a_shard_of_long_texts_can_be_stopped_while_they_are_read(
    jsonl: Rows, plan_of: Callable[..., Plan], encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang_worker.reader.PIECE_CHARS", 1000)
    plan = plan_of(jsonl([{"text": "가" * 500}] * 1000))
    polled = []

    def poll() -> None:
        polled.append(1)
        if len(polled) == 3:
            raise Interrupted(Reason.ENDED)

    with pytest.raises(Interrupted):
        ShardJob(plan, 0, Folder(plan.spec.output), "시험").run(
            encoder, max_chars=1000, poll=poll, report=lambda _: None
        )
    assert len(polled) == 3
    assert encoder.batches == []


def test_rows_are_batched_by_length_so_that_little_is_padding(
    jsonl: Rows, plan_of: Callable[..., Plan], encoder: FakeEncoder
) -> None:
    rows = [{"text": "가" * (120 if number % 10 == 0 else 8)} for number in range(1024)]
    plan = plan_of(jsonl(rows), batch_tokens=1280)
    result = ShardJob(plan, 0, Folder(plan.spec.output), "시험").run(
        encoder, max_chars=1000, poll=lambda: None, report=lambda _: None
    )
    in_file_order = sum(10 * 122 for _ in range(0, 1024, 10))
    assert len(encoder.batches) < 0.3 * 1024 / 10
    assert result.tokens < in_file_order / 3


def test_a_shard_that_another_worker_has_committed_is_left_as_it_is(
    jsonl: Rows, plan_of: Callable[..., Plan], encoder: FakeEncoder
) -> None:
    plan = plan_of(jsonl(sentences(10)))
    folder = Folder(plan.spec.output)

    def do() -> None:
        ShardJob(plan, 0, folder, "시험").run(encoder, max_chars=1000, poll=lambda: None, report=lambda _: None)

    do()
    before = folder.read(".munjang/shards/000000.json")
    with pytest.raises(Interrupted) as caught:
        do()
    assert caught.value.reason is Reason.OVERTAKEN
    assert folder.read(".munjang/shards/000000.json") == before
    assert folder.names(".munjang/tmp") == []


@pytest.mark.parametrize("lost", ["part-00000.parquet", ".munjang/errors/000000.jsonl", ".munjang/shards/000000.json"])
def test_a_shard_of_which_anything_is_lost_is_not_finished(
    jsonl: Rows, plan_of: Callable[..., Plan], encoder: FakeEncoder, lost: str
) -> None:
    plan = plan_of(jsonl([{"id": 1, "text": None}, *sentences(1500)]))
    folder = Folder(plan.spec.output)
    for number in (0, 1):
        ShardJob(plan, number, folder, "시험").run(encoder, max_chars=1000, poll=lambda: None, report=lambda _: None)
    assert check_shards(plan, folder, lambda: None, deep=False)[1] == []
    folder.remove(lost)
    results, missing = check_shards(plan, folder, lambda: None, deep=False)
    assert missing == [0]
    assert [result.number for result in results] == [1]
    assert folder.read(".munjang/shards/000000.json") is None


def test_a_model_that_fails_on_everything_is_no_row_s_fault(
    jsonl: Rows, run: Callable[..., Any], encoder: FakeEncoder
) -> None:
    encoder.failing = True
    with pytest.raises(EngineUnavailable):
        run(jsonl(sentences(100)))
    assert len(encoder.batches) < 15


def test_a_batch_too_large_for_memory_is_halved_until_it_fits(
    jsonl: Rows, run: Callable[..., Any], encoder: FakeEncoder
) -> None:
    encoder.memory_tokens = 300
    manifest = run(jsonl(sentences(200)))
    assert manifest["rows_failed"] == 0
