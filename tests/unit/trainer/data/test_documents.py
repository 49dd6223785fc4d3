from __future__ import annotations

import pytest

from munjang_trainer.data.documents import make_documents
from munjang_trainer.data.prepare import prepare, read_sources
from munjang_trainer.data.table import Table
from munjang_trainer.recipe.schema import DataConfig, DocumentsSource

PAIRS = Table("pairs", [(f"질문 {i} 하나", f"질문 {i} 둘", f"g{i}") for i in range(30)])
SCORED = Table("sts", [("비가 온다.", "비가 내린다.", 1.0), ("눈이 온다.", "해가 뜬다.", 0.2)])
SOURCE = DocumentsSource(kind="documents", of=("pairs", "sts"), rows=50, sentences=(2, 4))


def test_the_needle_is_in_the_document_and_not_in_its_negative():
    table = make_documents([PAIRS, SCORED], SOURCE, 42)
    needles = {row[0]: row[1] for row in PAIRS.rows} | {"비가 온다.": "비가 내린다."}
    assert table.kind == "triplets"
    assert 40 <= len(table.rows) <= 50
    for query, document, without in table.rows:
        assert needles[query] in document
        assert needles[query] not in without or query == "비가 온다."
        assert document.split()[0] == without.split()[0] or document.split()[-1] == without.split()[-1]


def test_pairs_that_are_not_alike_give_no_query_and_the_same_seed_the_same_rows():
    table = make_documents([PAIRS, SCORED], SOURCE, 42)
    assert "눈이 온다." not in {query for query, _, _ in table.rows}
    assert make_documents([PAIRS, SCORED], SOURCE, 42).rows == table.rows
    assert make_documents([PAIRS, SCORED], SOURCE, 43).rows != table.rows


def test_documents_are_made_of_what_is_left_after_hold_out_and_leaks(tmp_path):
    rows = [f"{i}\t질문 {i}\t물음 {i}" for i in range(20)]
    (tmp_path / "pairs.tsv").write_text("id\ta\tb\n" + "\n".join(rows) + "\n", "utf-8")
    (tmp_path / "dev.tsv").write_text("score\tsentence1\tsentence2\n3\t질문 3\t딴 글\n", "utf-8")
    config = DataConfig.model_validate(
        {
            "folder": str(tmp_path),
            "leaks": "drop",
            "sources": {
                "pairs": {
                    "kind": "pairs",
                    "files": ["pairs.tsv"],
                    "columns": ["a", "b"],
                    "hold_out": {"fraction": 0.2},
                },
                "documents": {"kind": "documents", "of": ["pairs"], "rows": 100},
            },
            "evaluation": {"dev": {"source": {"kind": "sts", "files": ["dev.tsv"]}}},
        }
    )
    report = prepare(config, 42, tmp_path / "out")
    tables = read_sources(tmp_path / "out")
    kept = {row[0] for row in tables["pairs"].rows}
    assert len(kept) < 17
    assert {query for query, _, _ in tables["documents"].rows} <= kept
    assert report.sources["documents"].origin == "made of pairs"


def test_the_range_of_sentences_is_checked():
    with pytest.raises(ValueError, match="from the least to the greatest"):
        DocumentsSource(kind="documents", of=("a",), sentences=(4, 2))
