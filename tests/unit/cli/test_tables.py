import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from munjang.cli.tables import Column, fitted

COLUMNS = [Column("이름"), Column("수", 1, right=True), Column("긴 말", 2, folds=True), Column("곁", 3)]
ROWS = [["[green]문장[/]", "12", "말 " * 30, "옆" * 10], ["[b", "3", "", ""]]


def printed(width, columns=COLUMNS, rows=ROWS):
    console = Console(file=io.StringIO(), width=width)
    console.print(fitted(columns, rows, width))
    return console.file.getvalue()


def test_a_wide_screen_gets_all_columns_and_no_remark():
    shown = printed(120)
    assert all(column.name in shown for column in COLUMNS)
    assert "not shown" not in shown


@pytest.mark.parametrize("width", [60, 48, 40, 30, 22])
def test_no_line_is_longer_than_the_screen(width):
    assert all(cell_len(line.rstrip()) <= width for line in printed(width).splitlines())


def test_columns_are_left_out_by_their_rank_and_named():
    shown = printed(40)
    assert "긴 말" in shown.splitlines()[1]
    assert "곁" not in shown.splitlines()[1]
    assert "not shown here: 곁" in " ".join(shown.split())
    assert "수" in printed(22).splitlines()[1]


def test_columns_of_rank_0_stay_on_any_screen():
    assert "이름" in printed(8, rows=[["가", "", "", ""]])


def test_empty_columns_are_left_out_silently():
    assert "not shown" not in printed(12, rows=[["가", "1", "", ""]])
