"""The page of the documentation has a row for each model of the zoo, and says of it what the row expects."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from tests.zoo.checks import NEAR, SAME
from tests.zoo.page import GROUPS, PAGE

ROWS = [row for row in chain(*GROUPS.values()) if not row.pending]


@pytest.fixture(scope="module")
def lines() -> dict[str, list[str]]:
    """The cells of each row of the page's tables, by the name of the model."""
    found = (re.split(r" *(?<!\\)\| *", line)[1:-1] for line in PAGE.read_text("utf-8").splitlines())
    return {cells[0]: cells for cells in found if len(cells) == 5}


def test_models_have_different_names():
    names = [row.name for row in chain(*GROUPS.values())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_of_the_page_says_what_is_expected(row, lines):
    _, like, runtime, packed, result = lines[row.name]
    assert like == row.like
    if row.refused:
        assert re.search(row.refused, result)
    else:
        assert runtime.lower() == row.runtime
        assert packed == ("yes" if row.packed else "alone" if row.alone else "no")
        assert float(result.removeprefix("scores within ")) <= NEAR if "scores" in result else float(result) >= SAME
