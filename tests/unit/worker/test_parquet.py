"""Parquet in: its types come through, strings in whatever form are strings, and damage is told from bad rows."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from munjang.errors import InvalidJob
from munjang_worker.reader import read_pieces
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_worker.plan import Plan


class Refusing(io.FileIO):
    """A file whose storage does not answer."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "no answer")


def broken_utf8(*values: bytes) -> pa.Array:
    """Strings that were never checked, as some writers leave them."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values).buffers())


def test_columns_keep_the_types_of_parquet(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    table = pa.table({
        "key": pa.array([10, 20], pa.int32()),
        "sentence": pa.array(["하나", "둘"]).dictionary_encode(),
        "tags": pa.array([["a"], []], pa.list_(pa.string())),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "입력.parquet")
    plan = plan_of(tmp_path / "입력.parquet", text_column="sentence", id_column="key", carry_columns="tags,sentence")
    [block] = read_pieces(plan, plan.shards[0], Folder(plan.spec.output))
    assert block.texts == ["하나", "둘"]
    assert block.table.schema.field("id").type == pa.int32()
    assert block.table.column("tags").to_pylist() == [["a"], []]
    assert block.table.column("sentence").to_pylist() == ["하나", "둘"]


def test_strings_of_every_kind_are_one_column_over_files_and_row_groups(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any]
) -> None:
    kinds = [pa.array(["하나", "둘", "하나", "셋"]).dictionary_encode(), pa.array(["넷"], pa.large_string())]
    kinds += [pa.array(["다섯", "여섯"]), pa.array(["일곱"], pa.string_view())]
    for number, texts in enumerate(kinds):
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{number}.parquet", row_group_size=2)
    run(tmp_path / "*.parquet", carry_columns="text")
    assert [row["text"] for row in rows_of()] == ["하나", "둘", "하나", "셋", "넷", "다섯", "여섯", "일곱"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_bytes_that_are_not_utf8_cost_their_rows_in_whatever_column_they_are(
    tmp_path: Path, run: Callable[..., Any], errors_of: Callable[[], Any], kind: str
) -> None:
    good, bad = b"a", b"\xff"
    table = pa.table({
        "id": broken_utf8(good, bad, good, good, good),
        "text": broken_utf8(good, good, bad, good, good),
        "title": broken_utf8(good, good, good, bad, good),
        "tags": pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], broken_utf8(good, good, good, good, bad)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "입력.parquet")
    manifest = run(tmp_path / "입력.parquet", carry_columns="title,tags", format=kind)
    reasons = [(error["row"], error["reason"]) for error in errors_of()]
    assert reasons == [(1, "MALFORMED_ROW"), (2, "INVALID_TEXT"), (3, "MALFORMED_ROW"), (4, "MALFORMED_ROW")]
    assert [error["id"] for error in errors_of()] == [None, "a", "a", "a"]
    assert manifest["rows_encoded"] == 1


def test_a_damaged_page_fails_the_job_by_name_and_a_storage_s_refusal_can_be_tried_again(
    tmp_path: Path, run: Callable[..., Any], plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "입력.parquet"
    table = pa.table({"text": [f"문장 {number}" for number in range(5000)]})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[40_000:40_400] = b"\xff" * 400
    path.write_bytes(data)
    with pytest.raises(InvalidJob, match=r"입력\.parquet"):
        run(path)

    pq.write_table(table, path)
    plan = plan_of(path, output=str(tmp_path / "둘"))
    monkeypatch.setattr("munjang_worker.parquet_input.open_source", Refusing)
    with pytest.raises(OSError, match="no answer"):
        list(read_pieces(plan, plan.shards[0], Folder(plan.spec.output)))


def test_values_that_json_lacks_are_written_as_json(tmp_path: Path, run: Callable[..., Any], output: str) -> None:
    table = pa.table({
        "id": pa.array([b"\x00\xff"]),
        "text": ["하나"],
        "day": pa.array([0], pa.timestamp("s")),
        "score": [float("nan")],
        "scores": [[1.5, float("inf")]],
        "price": pa.array(["1.50"]).cast(pa.decimal128(5, 2)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "입력.parquet")
    expected = {"id": "AP8=", "day": "1970-01-01T00:00:00", "score": None, "scores": [1.5, None], "price": "1.50"}
    for kind, name in (("jsonl", "part-00000.jsonl"), ("npy", "part-00000.ids.jsonl")):
        out = f"{output}-{kind}"
        run(tmp_path / "입력.parquet", carry_columns="day,score,scores,price", format=kind, output=out)
        row = json.loads((Path(out) / name).read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert {column: row[column] for column in expected} == expected


def test_a_text_column_of_numbers_is_refused(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "입력.parquet")
    with pytest.raises(InvalidJob, match="int64, not text"):
        plan_of(tmp_path / "입력.parquet")
