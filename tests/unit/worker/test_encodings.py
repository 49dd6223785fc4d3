"""Text files in the encodings of Korea: read where they are named, and told apart where they are not."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from munjang.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENCODINGS = ["cp949", "utf-16", "utf-16-le", "utf-16-be"]
FILES = {
    "in.csv": 'id,text\n1,비가 온다.\n2,"똠방각하, 둘"\n3,abc\n',
    "in.tsv": "id\ttext\n1\t비가 온다.\n2\t똠방각하, 둘\n3\tabc\n",
    "in.txt": "비가 온다.\n똠방각하, 둘\nabc\n",
    "in.jsonl": '{"text": "비가 온다."}\n{"text": "똠방각하, 둘"}\n{"text": "abc"}\n',
}
TEXTS = ["비가 온다.", "똠방각하, 둘", "abc"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8-sig", "utf-32", "gb18030", "utf-7"])
def test_a_file_is_read_in_the_encoding_that_the_job_names(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any], encoding: str, name: str, line_end: str
) -> None:
    (tmp_path / name).write_bytes(FILES[name].replace("\n", line_end).encode(encoding))
    run(tmp_path / name, carry_columns="text", encoding=encoding)
    assert [row["text"] for row in rows_of()] == TEXTS


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_in_another_encoding_is_refused_with_the_one_to_name(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any], encoding: str, name: str, suffix: str
) -> None:
    data = FILES[name].encode(encoding)
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(InvalidJob, match=f"looks like {encoding}: write encoding={encoding}, or --encoding") as caught:
        run(path)
    assert caught.value.field == "encoding"
    run(path, carry_columns="text", encoding=encoding)
    assert [row["text"] for row in rows_of()] == TEXTS


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "euc-kr", "ascii"])
def test_a_file_in_utf8_is_not_read_as_another(tmp_path: Path, run: Callable[..., Any], encoding: str) -> None:
    (tmp_path / "in.txt").write_text(FILES["in.txt"], encoding="utf-8")
    with pytest.raises(InvalidJob, match="looks like utf-8"):
        run(tmp_path / "in.txt", encoding=encoding)


def test_one_file_of_many_in_another_encoding_is_named(tmp_path: Path, run: Callable[..., Any]) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_bytes(FILES["in.csv"].encode("cp949" if number == 1 else "utf-8"))
    with pytest.raises(InvalidJob, match=r"1\.csv' does not look like utf-8; it looks like cp949"):
        run(tmp_path / "*.csv")


@pytest.mark.parametrize("bad", [b"\xff", b"caf\xe9", b"a\0b", b"\xe9\xe8\xe0"])
def test_a_line_that_is_damaged_costs_itself_and_not_the_file(
    tmp_path: Path, run: Callable[..., Any], bad: bytes
) -> None:
    (tmp_path / "in.txt").write_bytes(b"abc\n" + bad + b"\nabc\n")
    manifest = run(tmp_path / "in.txt")
    assert manifest["rows_failed"] == (0 if b"\0" in bad else 1)


def test_a_code_unit_that_is_none_costs_its_row(
    tmp_path: Path, run: Callable[..., Any], errors_of: Callable[[], Any]
) -> None:
    data = "하나\n".encode("utf-16-le") + b"\x00\xd8" + "둘\n셋\n".encode("utf-16-le") + b"\x41"
    (tmp_path / "in.txt").write_bytes(data)
    run(tmp_path / "in.txt", encoding="utf-16-le")
    assert [(error["row"], error["reason"]) for error in errors_of()] == [(1, "INVALID_TEXT"), (3, "INVALID_TEXT")]


def test_utf16_is_cut_into_shards_as_any_other_text(
    tmp_path: Path, run: Callable[..., Any], rows_of: Callable[[], Any]
) -> None:
    texts = [f"문장 {number}" for number in range(3000)]
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-16")
    assert len(run(tmp_path / "in.txt", carry_columns="text", encoding="utf-16")["shards"]) == 3
    assert [row["text"] for row in rows_of()] == texts
