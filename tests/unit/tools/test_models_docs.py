"""The table of docs/models.md is the catalogue."""

from __future__ import annotations

import sys

from munjang.publishing.catalogue import catalogue
from tools import models_docs


def test_the_page_is_current(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["models_docs", "--check"])
    assert models_docs.main() == 0


def test_another_table_is_told_and_written_anew(monkeypatch, tmp_path, capsys):
    text = models_docs.PAGE.read_text(encoding="utf-8")
    stale = tmp_path / "models.md"
    stale.write_text(text.replace("`nlpai-lab/KURE-v1` |", "`somebody/else` |"), encoding="utf-8")
    monkeypatch.setattr(models_docs, "PAGE", stale)
    monkeypatch.setattr(sys, "argv", ["models_docs", "--check"])
    assert models_docs.main() == 1
    assert "make docs" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["models_docs"])
    assert models_docs.main() == 0
    assert stale.read_text(encoding="utf-8") == text


def test_every_model_has_a_row_of_as_many_cells_as_there_are_columns():
    rows = [line for line in models_docs.table() if line.startswith("| `")]
    assert len(rows) == len(catalogue())
    assert {line.replace("\\|", "").count("|") for line in rows} == {len(models_docs.COLUMNS) + 1}
