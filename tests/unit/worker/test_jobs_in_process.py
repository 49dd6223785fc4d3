"""What a job makes of its rows: vectors of every precision and format, bad rows in the error file, a true manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from munjang.encoder.postprocess import OutputOptions, finish
from munjang.errors import UnknownPrompt, UnsupportedDimensions
from munjang.vectors import Precision, quantize_int8
from munjang_worker.storage import Folder
from munjang_worker.writers import part_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.testing import FakeEncoder
    from munjang_worker.plan import Plan

    Rows = Callable[[list[Any]], Path]

COUNT = 3000

SPACE = "5a" * 16
"""Of the version in `conftest`."""


def sentences(count: int = COUNT) -> list[dict[str, Any]]:
    return [{"id": number, "text": "가" * (number % 37) + f" {number}"} for number in range(count)]


def expected(encoder: FakeEncoder, texts: list[str], **options: Any) -> np.ndarray:
    return finish(encoder.forward(encoder.tokenize(texts)), OutputOptions(**options))


@pytest.mark.parametrize(
    "how",
    [
        (kind, precision)
        for kind in ("parquet", "jsonl", "npy")
        for precision in ("float32", "float16", "int8", "ubinary")
    ],
)
def test_every_row_has_its_vector_in_file_order(
    jsonl: Rows, run: Callable[..., Any], output: str, encoder: FakeEncoder, how: tuple[str, str]
) -> None:
    kind, precision = how
    rows = sentences()
    run(jsonl(rows), format=kind, precision=precision)
    ids, vectors = read_output(Path(output), kind, precision)
    assert ids == [row["id"] for row in rows]
    true = expected(encoder, [row["text"] for row in rows])
    match precision:
        case "float32":
            np.testing.assert_allclose(vectors, true, rtol=0, atol=1e-6)
        case "float16":
            assert vectors.dtype == (np.float16 if kind == "npy" else np.float64)
            np.testing.assert_allclose(vectors, true, atol=1e-3)
        case "int8":
            np.testing.assert_array_equal(vectors, quantize_int8(true, 1 / 127))
        case "ubinary":
            np.testing.assert_array_equal(vectors, np.packbits(true > 0, axis=-1))


def read_output(output: Path, kind: str, precision: str) -> tuple[list[Any], np.ndarray]:
    ids: list[Any] = []
    vectors: list[Any] = []
    for part in sorted(output.glob(f"part-?????.{kind}")):
        if kind == "parquet":
            table = pq.read_table(part)
            ids += table.column("id").to_pylist()
            vectors += [list(row) for row in table.column("vector").to_pylist()]
        elif kind == "jsonl":
            lines = [json.loads(line) for line in part.read_text(encoding="utf-8").splitlines()]
            ids += [line["id"] for line in lines]
            vectors += [line["vector"] for line in lines]
            assert {(line["version"], line["space_id"]) for line in lines} == {(7, SPACE)}
        else:
            vectors.append(np.load(part, allow_pickle=False))
            lines = part.with_suffix(".ids.jsonl").read_text(encoding="utf-8").splitlines()
            ids += [json.loads(line)["id"] for line in lines]
            assert {json.loads(line)["space_id"] for line in lines} == {SPACE}
    return ids, np.concatenate(vectors) if kind == "npy" else np.array(vectors)


def test_the_parquet_schema_says_which_version_and_how(jsonl: Rows, run: Callable[..., Any], output: str) -> None:
    run(jsonl(sentences(10)), precision="int8", dimensions=4, prompt_name="query")
    schema = pq.read_schema(Path(output) / "part-00000.parquet")
    said = {key.decode(): value.decode() for key, value in schema.metadata.items() if key.startswith(b"munjang.")}
    assert (said["munjang.version"], said["munjang.space_id"]) == ("7", SPACE)
    assert said["munjang.precision"] == "int8"
    assert float(said["munjang.int8_scale"]) == pytest.approx(1 / 127)
    assert said["munjang.prompt_name"] == "query"
    assert schema.field("vector").type.list_size == 4


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"role": "query"}, "질문: "),
        ({"role": "document"}, ""),
        ({"prompt": "찾기: "}, "찾기: "),
        ({"role": "query", "prompt": ""}, ""),
        ({"role": "document", "prompt_name": "query"}, "질문: "),
    ],
)
def test_a_role_or_the_text_of_a_prompt_chooses_the_words(
    jsonl: Rows, run: Callable[..., Any], output: str, encoder: FakeEncoder, options: dict[str, str], prompt: str
) -> None:
    run(jsonl(sentences(20)), format="npy", **options)
    _, vectors = read_output(Path(output), "npy", "float32")
    true = expected(encoder, [prompt + row["text"] for row in sentences(20)])
    np.testing.assert_allclose(vectors, true, rtol=0, atol=1e-6)
    manifest = json.loads((Path(output) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["space_id"] == SPACE
    asked = {name: value for name, value in options.items() if name != "prompt_name"}
    assert asked.items() <= manifest["options"].items()


def test_a_jobs_own_prompt_counts_to_each_rows_characters(jsonl: Rows, run: Callable[..., Any], output: str) -> None:
    rows = [{"id": 0, "text": "가" * 80_000}, {"id": 1, "text": "가" * 90_000}]  # `run` allows 100,000 characters
    run(jsonl(rows), prompt="나" * 16_000)
    [problem] = (Path(output) / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(problem)["id"], json.loads(problem)["reason"]) == (1, "TEXT_TOO_LONG")


def test_float32_of_jsonl_reads_back_bit_for_bit(
    jsonl: Rows, run: Callable[..., Any], output: str, encoder: FakeEncoder
) -> None:
    run(jsonl(sentences(100)), format="jsonl", normalize=False)
    _, vectors = read_output(Path(output), "jsonl", "float32")
    true = expected(encoder, [row["text"] for row in sentences(100)], normalize=False)
    np.testing.assert_array_equal(vectors.astype(np.float32), true)


def test_bad_rows_go_to_the_error_file_and_the_others_go_on(
    jsonl: Rows, run: Callable[..., Any], rows_of: Callable[[], Any], errors_of: Callable[[], Any]
) -> None:
    rows: list[Any] = sentences(1200)
    rows[3] = {"id": 3, "text": None}
    rows[4] = {"id": 4, "text": 17}
    rows[5] = {"id": 5, "text": " \n"}
    rows[6] = {"id": 6, "text": "독이 든 문장"}
    rows[7] = {"id": 7, "text": "\ud800"}
    rows[8] = {"id": 8, "text": "가" * 300}
    rows[9] = {"id": None, "text": "누구"}
    rows[1050] = {"id": "십", "text": "수가 아닌 이름"}
    rows[1100] = ["목록"]
    manifest = run(jsonl(rows), truncation="none")
    reasons = {error["row"]: error["reason"] for error in errors_of()}
    assert reasons == {
        3: "NULL_TEXT",
        4: "NOT_TEXT",
        5: "EMPTY_TEXT",
        6: "ENCODE_FAILED",
        7: "INVALID_TEXT",
        8: "TEXT_TOO_LONG",
        9: "MISSING_ID",
        1050: "MALFORMED_ROW",
        1100: "MALFORMED_ROW",
    }
    assert [error["row"] for error in errors_of()] == sorted(reasons)
    assert errors_of()[0]["id"] == 3
    assert [row["id"] for row in rows_of()] == [number for number in range(1200) if number not in reasons]
    assert (manifest["rows"], manifest["rows_encoded"], manifest["rows_failed"]) == (1200, 1191, 9)


def test_rows_of_csv_that_do_not_fit_the_header_are_errors_and_no_others(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any], errors_of: Callable[[], Any]
) -> None:
    path = tmp_path / "입력.csv"
    path.write_bytes(b"id,text\n1,a\n2,b,c\n3,d\xff\n4,e\rf\n\n5,g\n")
    run(path)
    assert [(error["row"], error["reason"]) for error in errors_of()] == [
        (1, "MALFORMED_ROW"),
        (2, "INVALID_TEXT"),
        (3, "MALFORMED_ROW"),
    ]
    assert [row["id"] for row in rows_of()] == ["1", "5"]


def test_long_texts_are_cut_and_counted_where_nobody_forbids_it(jsonl: Rows, run: Callable[..., Any]) -> None:
    manifest = run(jsonl([{"text": "가" * 300}, {"text": "나"}]))
    assert manifest["texts_truncated"] == 1
    assert manifest["tokens"] == 128 + 3


def test_carried_columns_stand_beside_the_vector(
    jsonl: Rows, run: Callable[..., Any], rows_of: Callable[[], Any]
) -> None:
    rows = [{"text": "하나", "year": 1, "score": 1, "tags": ["ㄱ"]}, {"text": "둘", "score": 2.5, "tags": None}]
    run(jsonl(rows), carry_columns="year,score,tags")
    kept = [{name: value for name, value in row.items() if name != "vector"} for row in rows_of()]
    assert kept == [
        {"id": 0, "year": 1, "score": 1.0, "tags": '["ㄱ"]'},
        {"id": 1, "year": None, "score": 2.5, "tags": None},
    ]


def test_an_empty_input_makes_an_empty_file_with_its_schema(
    tmp_path: Path, run: Callable[..., Any], output: str
) -> None:
    path = tmp_path / "입력.jsonl"
    path.touch()
    manifest = run(path)
    assert manifest["rows"] == 0
    table = pq.read_table(Path(output) / "part-00000.parquet")
    assert table.num_rows == 0
    assert table.schema.names == ["id", "vector"]


def test_the_manifest_names_every_file_with_its_sha256(jsonl: Rows, run: Callable[..., Any], output: str) -> None:
    run(jsonl(sentences()), format="npy")
    manifest = json.loads((Path(output) / "manifest.json").read_text(encoding="utf-8"))
    parts = [part for shard in manifest["shards"] for part in shard["parts"]]
    assert len(parts) == 6
    for part in parts:
        data = (Path(output) / part["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == part["sha256"]
        assert len(data) == part["size"]
    assert [shard["first_row"] for shard in manifest["shards"]] == [0, 1024, 2048]
    assert manifest["options"]["precision"] == "float32"
    assert manifest["version"] == 7


def test_files_sorted_by_name_are_in_order_however_many_there_are() -> None:
    for shards in (1, 100_000, 100_001, 2_000_000):
        names = [part_names("parquet", number, shards)[0] for number in range(0, shards, max(1, shards // 1000))]
        assert names == sorted(names)
    assert part_names("npy", 7, 10) == ("part-00007.npy", "part-00007.ids.jsonl")


def test_nothing_but_the_plan_and_the_output_is_left_in_the_folder(
    tmp_path: Path, run: Callable[..., Any], output: str
) -> None:
    path = tmp_path / "입력.txt"
    path.write_text("하나\n둘\n", encoding="utf-8")
    run(path)
    found = {str(file.relative_to(output)) for file in Path(output).rglob("*") if file.is_file()}
    assert found == {
        "manifest.json",
        "errors.jsonl",
        "part-00000.parquet",
        ".munjang/plan.json",
        ".munjang/shards/000000.json",
    }


def test_an_output_at_a_url_is_the_same(
    jsonl: Rows, run: Callable[..., Any], output: str, rows_of: Callable[[], Any]
) -> None:
    path = jsonl(sentences())
    run(path)
    run(path, output="memory://원격/출력")
    remote = Folder("memory://원격/출력")
    assert remote.names() == ["errors.jsonl", "manifest.json", *[f"part-0000{number}.parquet" for number in range(3)]]
    for name in remote.names()[2:]:
        assert remote.read(name) == (Path(output) / name).read_bytes()


def test_what_the_version_cannot_give_is_refused_before_the_input_is_read(
    tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    with pytest.raises(UnsupportedDimensions):
        plan_of(tmp_path / "없음.txt", dimensions=9)
    with pytest.raises(UnknownPrompt):
        plan_of(tmp_path / "없음.txt", prompt_name="passage")


def test_precisions_are_those_that_files_can_hold() -> None:
    assert {"float32", "float16", "int8", "ubinary", "bfloat16"} == {str(precision) for precision in Precision}
