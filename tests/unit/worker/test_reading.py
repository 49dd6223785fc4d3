"""Every format gives the same rows, however the input is cut, compressed or spread over files."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from munjang.errors import InvalidJob
from munjang_worker.reader import read_pieces
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang_worker.plan import Plan

COUNT = 2500
TEXTS = [f'문장 {number}번, "따옴표"와\n줄바꿈' if number % 7 == 0 else f"문장 {number}번" for number in range(COUNT)]
PLAIN = [text.replace("\n", " ").replace('"', "'") for text in TEXTS]


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": i, "text": t}, ensure_ascii=False) + "\n" for i, t in enumerate(texts)).encode()


def as_csv(texts: list[str]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["id", "text"])
    writer.writerows(enumerate(texts))
    return file.getvalue().encode()


def as_tsv(texts: list[str]) -> bytes:
    return ("id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(texts))).encode()


def as_txt(texts: list[str]) -> bytes:
    return "".join(text + "\r\n" for text in texts).encode()


def as_parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), sink, row_group_size=700)
    return sink.getvalue().to_pybytes()


FORMATS = {
    "jsonl": (as_jsonl, TEXTS),
    "csv": (as_csv, TEXTS),
    "tsv": (as_tsv, PLAIN),
    "txt": (as_txt, PLAIN),
    "parquet": (as_parquet, TEXTS),
}
COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def read(plan: Plan) -> tuple[list[Any], list[Any], list[int]]:
    """Texts, ids, and the lengths of the blocks; no piece may reach over the end of a block."""
    texts, ids = [], []
    lengths: Counter[int] = Counter()
    for shard in plan.shards:
        first = shard.first_row
        for block in read_pieces(plan, shard, Folder(plan.spec.output)):
            assert block.first == first
            assert not block.problems
            assert first // plan.block_rows == (first + len(block) - 1) // plan.block_rows
            lengths[first // plan.block_rows] += len(block)
            first += len(block)
            texts += block.texts
            ids += block.table.column("id").to_pylist()
    return texts, ids, list(lengths.values())


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_any_format_is_read_in_shards_as_it_was_written(
    tmp_path: Path, plan_of: Callable[..., Plan], kind: str, suffix: str
) -> None:
    encode, expected = FORMATS[kind]
    path = tmp_path / f"입력.{kind}{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](encode(expected)))
    plan = plan_of(path)
    texts, ids, lengths = read(plan)
    assert texts == expected
    assert [int(found) for found in ids] == list(range(COUNT))
    assert lengths == [1024, 1024, COUNT - 2048]
    assert [shard.rows for shard in plan.shards] == lengths
    assert plan.rows == COUNT


@pytest.mark.parametrize("kind", FORMATS)
def test_many_files_are_one_input_in_the_order_of_their_names(
    tmp_path: Path, plan_of: Callable[..., Plan], kind: str
) -> None:
    encode, expected = FORMATS[kind]
    for start in range(0, COUNT, 300):
        name = f"{start:05d}.{kind}" + (".gz" if start == 600 else "")
        data = encode(expected[start : start + 300])
        (tmp_path / name).write_bytes(gzip.compress(data) if start == 600 else data)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "읽어보세요.md").touch()
    plan = plan_of(tmp_path / f"0*.{kind}*", output=str(tmp_path / "출력"))
    texts, _, lengths = read(plan)
    assert texts == expected
    assert lengths == [1024, 1024, COUNT - 2048]


def test_a_folder_is_read_without_its_hidden_files(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    folder = tmp_path / "폴더" / "안쪽"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("하나\n", encoding="utf-8")
    (folder / ".b.txt").write_text("숨김\n", encoding="utf-8")
    (folder / "_c.txt").write_text("숨김\n", encoding="utf-8")
    (folder / "d.log").write_text("다른 것\n", encoding="utf-8")
    assert read(plan_of(tmp_path / "폴더"))[0] == ["하나"]


def test_an_input_in_memory_is_read_by_its_url(plan_of: Callable[..., Plan]) -> None:
    with fsspec.open("memory://입력/문장.jsonl.gz", "wb") as file:
        file.write(gzip.compress(as_jsonl(TEXTS)))
    plan = plan_of("memory://입력/문장.jsonl.gz", output="memory://출력/일")
    assert read(plan)[0] == TEXTS


def test_rows_without_an_id_column_are_numbered_over_all_files(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("text\n하나\n둘\n", encoding="utf-8")
    assert read(plan_of(tmp_path / "*.csv"))[1] == [0, 1, 2, 3]


def test_csv_files_with_nothing_in_them_are_no_rows(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    for name, text in (("a", ""), ("b", "text\n하나\n"), ("c", ""), ("d", "text\n"), ("e", "text\n둘\n")):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    assert read(plan_of(tmp_path / "*.csv"))[0] == ["하나", "둘"]


def test_a_byte_order_mark_and_another_encoding_are_no_part_of_a_text(
    tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    path = tmp_path / "입력.csv"
    path.write_bytes("\ufeffid,text\n1,하나\n".encode())
    assert read(plan_of(path))[0] == read(plan_of(path, encoding="utf-8-sig"))[0] == ["하나"]
    path.write_bytes("id,text\n1,똠방각하\n".encode("cp949"))
    assert read(plan_of(path, encoding="cp949"))[0] == ["똠방각하"]


def test_tsv_has_no_quotes_unless_asked_for(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    path = tmp_path / "입력.tsv"
    path.write_text('id\ttext\n1\t"열린 따옴표\n2\t둘\n', encoding="utf-8")
    assert read(plan_of(path))[0] == ['"열린 따옴표', "둘"]
    path.write_text('id\ttext\n1\t"탭\t안"\n2\t둘\n', encoding="utf-8")
    assert read(plan_of(path, quoting="csv"))[0] == ["탭\t안", "둘"]


def test_a_line_of_many_megabytes_takes_no_more_memory_than_its_limit(
    tmp_path: Path, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang_worker.text_formats.LINE_BYTES", 64)
    path = tmp_path / "입력.txt"
    path.write_bytes(b"a" * 1000 + b"\n" + "둘\n".encode())
    texts = read(plan_of(path))[0]
    assert [len(text) for text in texts] == [63, 1]


def test_ids_of_json_are_numbers_where_the_first_rows_have_numbers(
    jsonl: Callable[[list[Any]], Path], plan_of: Callable[..., Plan]
) -> None:
    assert read(plan_of(jsonl([{"id": 5, "text": "하나"}])))[1] == [5]
    assert read(plan_of(jsonl([{"id": 5, "text": "하나"}, {"id": "오", "text": "둘"}])))[1] == ["5", "오"]


@pytest.mark.parametrize(
    ("file", "options", "field"),
    [
        (("입력.csv", "id,sentence\n1,하나\n"), {}, "text_column"),
        (("입력.jsonl", '{"sentence": "하나"}\n'), {}, "text_column"),
        (("입력.csv", "id,text\n1,하나\n"), {"carry_columns": "title"}, "carry_columns"),
        (("입력.csv", "id,text\n1,하나\n"), {"id_column": "key"}, "id_column"),
        (("입력.csv", "text,text\n1,하나\n"), {}, "text_column"),
        (("입력.csv", ""), {}, "input"),
        (("입력.dat", "하나\n"), {}, "input_format"),
        (("입력.parquet", "하나\n"), {}, "input"),
        (("입력.jsonl.gz", "하나\n"), {}, "input"),
    ],
)
def test_an_input_that_cannot_be_used_is_refused_by_the_field_at_fault(
    tmp_path: Path, plan_of: Callable[..., Plan], file: tuple[str, str], options: dict[str, str], field: str
) -> None:
    name, data = file
    (tmp_path / name).write_text(data, encoding="utf-8")
    with pytest.raises(InvalidJob) as caught:
        plan_of(tmp_path / name, **options)
    assert caught.value.field == field


def test_an_input_that_is_not_there_or_of_two_kinds_is_refused(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(InvalidJob, match="there is no file"):
        plan_of(tmp_path / "없음.jsonl")
    (tmp_path / "a.txt").write_text("하나\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("text\n하나\n", encoding="utf-8")
    with pytest.raises(InvalidJob, match="different formats"):
        plan_of(tmp_path / "*")


@pytest.mark.parametrize(
    ("pattern", "output"),
    [("", "출력"), ("", "깊이/출력"), ("", ""), ("*/*.jsonl", "출력"), ("**/*.jsonl", "깊이/출력"), ("*", "")],
)
def test_an_output_that_the_input_would_take_in_is_refused_before_it_is_there(
    tmp_path: Path, plan_of: Callable[..., Plan], pattern: str, output: str
) -> None:
    for name in ("a.jsonl", "안/b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(as_jsonl(TEXTS[:2]))
    with pytest.raises(InvalidJob, match="holds the output folder") as caught:
        plan_of(tmp_path / pattern, output=str(tmp_path / output), format="jsonl")
    assert caught.value.field == "output"


@pytest.mark.parametrize(
    ("pattern", "output"), [("", ".출력"), ("*.jsonl", "출력"), ("**/a.jsonl", "출력"), ("", "../밖")]
)
def test_an_output_beside_the_input_s_files_is_fine(
    tmp_path: Path, plan_of: Callable[..., Plan], pattern: str, output: str
) -> None:
    folder = tmp_path / "자료"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(as_jsonl(TEXTS[:2]))
    for _ in range(2):
        plan = plan_of(folder / pattern, output=str(folder / output), format="jsonl")
        assert plan.rows == 2
        Folder(plan.spec.output).write("errors.jsonl", b"")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_that_breaks_off_is_refused(
    tmp_path: Path, plan_of: Callable[..., Plan], suffix: str
) -> None:
    path = tmp_path / f"입력.jsonl{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](as_jsonl(TEXTS))[:-20])
    with pytest.raises(InvalidJob, match="damaged or incomplete"):
        plan_of(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_long_texts_are_read_in_pieces_and_no_more_than_one_piece_at_a_time(
    tmp_path: Path, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("munjang_worker.reader.PIECE_CHARS", 100_000)
    texts = [chr(ord("가") + number) * 20_000 for number in range(50)]
    path = tmp_path / f"입력.{kind}"
    path.write_bytes(FORMATS[kind][0](texts))
    plan = plan_of(path)
    pieces = [block.texts for block in read_pieces(plan, plan.shards[0], Folder(plan.spec.output))]
    assert [text for piece in pieces for text in piece] == texts
    assert len(pieces) >= 10
    assert max(sum(map(len, piece)) for piece in pieces) <= 120_000


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_input_that_changes_after_planning_is_noticed(
    tmp_path: Path, plan_of: Callable[..., Plan], kind: str
) -> None:
    path = tmp_path / f"입력.{kind}"
    path.write_bytes(FORMATS[kind][0](TEXTS))
    plan = plan_of(path)
    changed = FORMATS[kind][0]([text.replace("문장", "글월") for text in TEXTS])
    assert len(changed) == path.stat().st_size
    path.write_bytes(changed)
    with pytest.raises(InvalidJob, match="changed"):
        read(plan)
