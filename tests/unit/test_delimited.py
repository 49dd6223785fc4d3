"""CSV and TSV as every reader of the house reads them: a quote out of place costs its own row and no other."""

from __future__ import annotations

import pytest

from munjang import delimited
from munjang.delimited import BufferedLines, Malformed, column_names, read_records


def records(text, delimiter=",", *, quotes=True, fields=0):
    lines = BufferedLines(text.splitlines(keepends=True) if "\r" not in text else _at_line_feeds(text))
    return list(read_records(lines, delimiter, quotes=quotes, fields=fields))


def _at_line_feeds(text):
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]


def test_a_quoted_field_keeps_its_line_breaks_empty_lines_and_quotes():
    assert records('a,b\n"첫 줄\n둘째 줄","단락\n\n다음 ""단락"""\n') == [
        ["a", "b"],
        ["첫 줄\n둘째 줄", '단락\n\n다음 "단락"'],
    ]


def test_empty_lines_between_records_are_no_records():
    assert records("a,b\n\n1,2\r\n\r\n3,4") == [["a", "b"], ["1", "2"], ["3", "4"]]


def test_a_quote_that_is_never_closed_costs_its_own_line():
    found = records('a,b\n"offen,1\n2,3\n')
    assert isinstance(found[1], Malformed)
    assert found[2:] == [["2", "3"]]


def test_lines_that_a_stray_quote_would_join_are_told_by_their_number_of_fields():
    found = records('a,b\n"x,1\n2,y"\n3,4\n')
    assert isinstance(found[1], Malformed)
    assert "with 2 lines the row has 1 fields, the header 2" in found[1].message
    assert found[-1] == ["3", "4"]


def test_a_carriage_return_outside_of_quotes_is_malformed():
    assert isinstance(records("a,b\n1\r2,3\n")[1], Malformed)


def test_without_quoting_a_quote_is_a_character_like_any_other():
    assert records('a\tb\n"안녕"\t"\n', "\t", quotes=False) == [["a", "b"], ['"안녕"', '"']]


def test_a_record_that_grows_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(delimited, "RECORD_CHARACTERS", 100)
    found = records('a,b\n"' + "x\n" * 1000)
    assert isinstance(found[1], Malformed)


@pytest.mark.parametrize(("record", "names"), [([" a ", "b"], ["a", "b"]), (Malformed("so"), [])])
def test_a_header_names_columns_without_white_space(record, names):
    assert column_names(record) == names
