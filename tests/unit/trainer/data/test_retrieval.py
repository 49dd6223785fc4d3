from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from munjang.errors import ConfigurationError
from munjang_trainer.data.sources import load_evaluation_source, load_source
from munjang_trainer.evaluation.sets import named_sets
from munjang_trainer.recipe.schema import BeirSource, HoldOut, SquadSource

CORPUS = [
    {"_id": "d1", "title": "서울", "text": "한국의 수도이다."},
    {"_id": "d2", "title": "", "text": "바다가 있는 도시."},
    {"_id": "d3", "text": "아무도 찾지 않는 글."},
]
QUERIES = [{"_id": "q1", "text": "수도는 어디인가?"}, {"_id": "q2", "text": "바다는 어디에 있나?"}]
QRELS = [("q1", "d1", 2), ("q2", "d2", 1), ("q2", "d1", 0), ("q9", "d1", 1)]
ROWS = [
    ("q1", "수도는 어디인가?", "d1", "서울 한국의 수도이다.", 2.0),
    ("q2", "바다는 어디에 있나?", "d2", "바다가 있는 도시.", 1.0),
    ("q2", "바다는 어디에 있나?", "d1", "서울 한국의 수도이다.", 0.0),
    ("", "", "d3", "아무도 찾지 않는 글.", 0.0),
]


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_beir(folder):
    write_lines(folder / "corpus.jsonl", CORPUS)
    write_lines(folder / "queries.jsonl", QUERIES)
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in QRELS)]
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def write_parquet(folder):
    pq.write_table(pa.Table.from_pylist(CORPUS), folder / "corpus.parquet")
    pq.write_table(pa.Table.from_pylist(QUERIES), folder / "queries.parquet")
    columns = dict(zip(("query-id", "corpus-id", "score"), zip(*QRELS, strict=True), strict=True))
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), folder / "qrels.parquet")


@pytest.mark.parametrize("write", [write_beir, write_parquet])
def test_a_folder_in_beirs_layout_is_read_in_both_formats(tmp_path, write):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    (table,) = named_sets(str(tmp_path), {"beir": ["set"]}).values()
    assert (table.kind, [tuple(row) for row in table.rows]) == ("retrieval", ROWS)


def test_what_lacks_a_file_is_named(tmp_path):
    write_lines(tmp_path / "set" / "corpus.jsonl", CORPUS)
    with pytest.raises(ConfigurationError, match=r"none of queries.jsonl"):
        named_sets(str(tmp_path), {"beir": ["set"]})


def test_judgements_of_other_queries_are_counted_and_none_at_all_is_an_error(tmp_path):
    write_beir(tmp_path)
    files = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    _, counts = load_evaluation_source(BeirSource(kind="beir", files=files), str(tmp_path), 42)
    assert dict(counts.dropped) == {"no such query": 1}
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nx\ty\t1\n", "utf-8")
    with pytest.raises(ConfigurationError, match="judges no document"):
        load_evaluation_source(BeirSource(kind="beir", files=files), str(tmp_path), 42)


def test_to_train_on_queries_are_paired_with_their_answers_and_held_out_ones_are_searched(tmp_path):
    write_beir(tmp_path)
    files = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    loaded = load_source(BeirSource(kind="beir", files=files), str(tmp_path), 42)
    assert loaded.train.kind == "pairs"
    assert loaded.train.rows == [(row[1], row[3], row[2]) for row in ROWS[:2]]
    held = load_source(BeirSource(kind="beir", files=files, hold_out=HoldOut(fraction=0.5)), str(tmp_path), 42).held_out
    assert held.kind == "retrieval"
    assert len(held.rows) == 1


def squad(paragraphs):
    return {"version": "1", "data": [{"title": "글", "paragraphs": paragraphs}]}


def test_questions_find_their_paragraph_and_equal_paragraphs_are_one(tmp_path):
    paragraphs = [
        {"context": "서울은 수도이다.", "qas": [{"id": "1", "question": "수도는?"}]},
        {"context": "서울은 수도이다. ", "qas": [{"guid": "2", "question": "서울은?"}]},
        {"context": "답이 없는 글.", "qas": [{"id": "3", "question": "왜?", "is_impossible": True}]},
    ]
    (tmp_path / "mrc.json").write_text(json.dumps(squad(paragraphs), ensure_ascii=False), "utf-8")
    table, counts = load_evaluation_source(SquadSource(kind="squad", files=("mrc.json",)), str(tmp_path), 42)
    assert [tuple(row) for row in table.rows] == [
        ("1", "수도는?", "0", "서울은 수도이다.", 1.0),
        ("2", "서울은?", "0", "서울은 수도이다.", 1.0),
        ("", "", "2", "답이 없는 글.", 0.0),
    ]
    assert dict(counts.dropped) == {"not answered by its paragraph": 1}


def test_other_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"data": [{"text": "글"}]}', "utf-8")
    with pytest.raises(ConfigurationError, match="not SQuAD's JSON: it lacks 'paragraphs'"):
        named_sets(str(tmp_path), {"squad": ["a.json"]})
    (tmp_path / "b.json").write_text('{"rows": []}', "utf-8")
    with pytest.raises(ConfigurationError, match="holds no list of objects"):
        named_sets(str(tmp_path), {"squad": ["b.json"]})
