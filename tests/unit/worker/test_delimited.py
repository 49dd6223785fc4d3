"""CSV: what is well written comes back whole, and a quote out of place costs its own row and no other."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.delimited import Malformed
from munjang_worker import text_formats
from munjang_worker.reader import read_pieces
from munjang_worker.storage import Folder
from munjang_worker.text_formats import Delimited, Lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang_worker.plan import Plan

PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "가", " ", '","', '"\n', '\n"']), max_size=30)


def records(data: str, header: tuple[str, ...] = ("id", "text")) -> list[Any]:
    """The records of a file without its header: lists of fields, or BAD."""
    reader = Delimited("utf-8", ",", quotes=True, header=header)
    found = reader.items(Lines(io.BytesIO(data.encode())))
    return [BAD if isinstance(item, Malformed) else item for item in found]


BAD = "MALFORMED_ROW"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('1,"열린\n2,둘\n3,셋\n', [BAD, ["2", "둘"], ["3", "셋"]]),
        ('1,"열린\n2,둘\n3,"셋\n4,넷\n', [BAD, ["2", "둘"], BAD, ["4", "넷"]]),
        ('1,"그는 "안녕"이라고 했다"\n2,둘\n', [BAD, ["2", "둘"]]),
        ('1,"하나\n2,둘",셋\n3,넷\n', [BAD, ["2", '둘"', "셋"], ["3", "넷"]]),
        ('1,15" 화면\n2,둘\n', [["1", '15" 화면'], ["2", "둘"]]),
        ('1,"하나", \n2,둘\n', [["1", "하나", " "], ["2", "둘"]]),
        ('1,"두\r\n줄"\r\n\r\n2,""\r\n', [["1", "두\r\n줄"], ["2", ""]]),
        ('1,"따옴표 ""하나"""\n2,"쉼표, 하나"', [["1", '따옴표 "하나"'], ["2", "쉼표, 하나"]]),
        ("1,a\rb\n2,둘\n", [BAD, ["2", "둘"]]),
    ],
)
def test_a_quote_out_of_place_costs_its_own_row_only(data: str, expected: list[Any]) -> None:
    assert records(data) == expected


def test_without_a_header_the_first_record_says_how_many_fields_there_are() -> None:
    assert records('id,text\n1,"하나\n2,둘",셋\n', header=()) == [["id", "text"], BAD, ["2", '둘"', "셋"]]


def test_a_quote_that_nothing_closes_is_looked_for_so_far_and_no_farther(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("munjang.delimited.RECORD_CHARACTERS", 600)
    looked: list[int] = []
    look = text_formats.Lines.look
    monkeypatch.setattr(text_formats.Lines, "look", lambda self, at: looked.append(at) or look(self, at))
    found = records('1,"열린\n' + "2,둘\n" * 1000)
    assert found == [BAD, *[["2", "둘"]] * 1000]
    assert max(looked) < 200


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_whatever_a_writer_quotes_comes_back(rows: list[tuple[str, str]]) -> None:
    rows = [tuple(field.replace("\0", "").encode("utf-8", "replace").decode() for field in row) for row in rows]
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    assert records(file.getvalue()) == [list(row) for row in rows]


@given(PIECES, st.integers(0, 20))
def test_rows_before_and_after_are_read_whatever_stands_between(pieces: list[str], count: int) -> None:
    good = [[str(number), "글"] for number in range(count)]
    text = "".join(f"{number},글\n" for number in range(count))
    found = records(text + "".join(pieces) + "\n" + text)
    assert found[:count] == good
    if "".join(pieces).count('"') == 0:
        assert found[len(found) - count :] == good


@pytest.fixture
def rows_by_block(plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The texts of a file that is cut into shards of so many rows, and which of them are problems."""

    def read(path: Path, rows: int, **options: Any) -> list[Any]:
        monkeypatch.setattr("munjang_worker.plan_job.BLOCK_ROWS", rows)
        plan = plan_of(path, shard_rows=rows, output=str(tmp_path / "출력"), **options)
        found: list[Any] = []
        for shard in plan.shards:
            for block in read_pieces(plan, shard, Folder(plan.spec.output)):
                found += [
                    (text, position in block.problems)
                    for position, text in zip(range(len(block)), block.texts, strict=True)
                ]
        assert len(found) == plan.rows
        return found

    return read


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_rows_do_not_depend_on_where_the_file_is_cut(
    rows_by_block: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    data = 'id,text\n1,"열린\n2,둘\n\n3,"셋\n넷"\n4,"다"섯"\n5,"여섯\n6,일곱",\n7,"여덟\n8,아홉\n'.encode()
    path = tmp_path / f"입력.csv{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    whole = rows_by_block(path, 1000)
    assert [text for text, bad in whole if not bad] == ["둘", "셋\n넷", "아홉"]
    assert [rows_by_block(path, rows) for rows in (1, 2, 3)] == [whole] * 3
