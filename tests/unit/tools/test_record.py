"""The drawing of a terminal that `tools.record` makes."""

from __future__ import annotations

import re

from tools import record


def test_every_line_appears_when_it_was_printed_but_pauses_are_cut():
    svg = record.drawing([(3.0, "first"), (3.5, "second"), (60.0, "\x1b[41mthird\x1b[0m")])
    texts = re.findall(r'--at:([\d.]+)"><text [^>]*>([^<]*)</text>', svg)
    assert texts == [("0.0", "$&#160;munjang&#160;demo"), ("0.0", "first"), ("0.5", "second"), ("1.7", "third")]
    assert re.search(r'<rect class="line" style="--at:1.7"', svg)


def test_a_long_line_is_wrapped_and_nothing_is_fetched():
    svg = record.drawing([(0.0, "가나다라마바사 " * 20)])
    assert "".join(re.findall(r">([^<]*)</text>", svg)).count("가나다라마바사") == 20
    assert re.findall(r"https?://[^\"']*", svg) == ["http://www.w3.org/2000/svg"]


def test_the_folder_of_the_command_is_left_out():
    assert record.HERE.sub("munjang", "`/a/b/.venv/bin/munjang up` starts") == "`munjang up` starts"
