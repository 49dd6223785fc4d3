"""Updates embed what changed and nothing else, and leave what a full run would."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from munjang.errors import InvalidJob, SpaceMismatch
from munjang.index.corpus import Corpus
from munjang.index.job_folder import JobFolder
from munjang.index.layout import agree
from munjang.index.load import load_job
from munjang.index.tables import MANIFEST
from munjang.index.update import update_index

COUNT = 1000


def held(tables, table: str) -> dict[Any, tuple[Any, ...]]:
    """A table's rows by id."""
    layout = tables.layout(table)
    ids = [mark.id for piece in tables.sink.marks(table, layout) for mark in piece]
    rows = tables.sink.fetch(table, layout, ids)
    assert len(ids) == len(set(ids)) == len(rows)
    columns = zip(*rows.columns.values(), strict=True)
    return {one: row for one, *row in zip(rows.ids, rows.vectors, rows.hashes, columns, strict=True)}


def assert_same(tables, one: str, other: str) -> None:
    left, right = held(tables, one), held(tables, other)
    assert left.keys() == right.keys()
    layout = tables.layout(one)
    for row_id, (vector, *rest) in left.items():
        assert rest == right[row_id][1:]
        assert agree(vector[None], right[row_id][0][None], layout).all(), row_id


def changed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row in a hundred gone, one with a new text, one new, and one with another title."""
    found = []
    for number, row in enumerate(rows):
        match number % 100:
            case 0:
                continue
            case 1:
                found.append(row | {"text": f"바뀐 문장 {number}"})
            case 2:
                found.append(row | {"title": "새 제목"})
            case _:
                found.append(row)
    return found + [
        {"id": f"새 글 {n}", "text": f"새 문장 {n}", "title": None, "views": n} for n in range(len(rows) // 100)
    ]


def test_an_update_embeds_what_changed_and_leaves_what_a_full_run_would(
    url, opened, job, make_rows, models, corpus_file
) -> None:
    tables = opened(url)
    rows = make_rows(COUNT)
    table = load_job(JobFolder(str(job(rows))), tables).table
    after = changed(rows)
    (report,) = update_index(tables, models, Corpus(corpus_file(after)))
    counts = (report.rows, report.reused, report.rewritten, report.embedded, report.deleted, report.failed)
    assert counts == (COUNT, COUNT - 20, 10, 20, 10, 0)
    assert len(models.texts) == 20
    full_tokens = sum(len(row["text"]) + 2 for row in rows)
    assert 0 < report.tokens <= 0.05 * full_tokens
    manifest = tables.sink.records(table)[MANIFEST]
    assert (manifest["reused"], manifest["embedded"], manifest["deleted"]) == (COUNT - 20, 20, 10)

    full = JobFolder(str(job(after, "full")))
    other = type(tables)(tables.sink, "full")
    assert_same_tables = load_job(full, other).table
    assert_same(tables, table, assert_same_tables)

    (again,) = update_index(tables, models, Corpus(corpus_file(after)))
    assert (again.reused, again.embedded, again.deleted) == (COUNT, 0, 0)
    assert len(models.texts) == 20


def test_ids_that_are_gone_stay_where_that_is_asked_for(url_of, opened, job, make_rows, models, corpus_file) -> None:
    tables = opened(url_of("lancedb"))
    rows = make_rows(30)
    table = load_job(JobFolder(str(job(rows))), tables).table
    (report,) = update_index(tables, models, Corpus(corpus_file(rows[:20])), keep_missing=True)
    assert (report.deleted, tables.sink.count(table)) == (0, 30)


def test_a_version_of_the_same_space_re_embeds_nothing_and_one_of_another_is_not_taken(
    url_of, opened, job, make_rows, models, corpus_file
) -> None:
    tables = opened(url_of("lancedb"))
    rows = make_rows(30)
    load_job(JobFolder(str(job(rows, version=2))), tables)
    models.stable = 4  # another number for the same space
    assert models.space(4) == models.space(2)
    (report,) = update_index(tables, models, Corpus(corpus_file(rows)))
    assert (report.reused, report.embedded, models.texts) == (30, 0, [])
    models.stable = 3  # the server has moved on; the index's own version is asked for by its space
    rows[0]["text"] = "다른 문장"
    (report,) = update_index(tables, models, Corpus(corpus_file(rows)))
    assert (report.embedded, report.versions) == (1, [2])

    class Liar(type(models)):
        def resolve(self, version):
            return 3

    rows[0]["text"] = "또 다른 문장"
    with pytest.raises(SpaceMismatch, match="the table holds space"):
        update_index(tables, Liar(), Corpus(corpus_file(rows)))


def test_a_text_that_fails_is_told_and_its_old_row_stays(url_of, opened, job, make_rows, models, corpus_file) -> None:
    tables = opened(url_of("lancedb"))
    rows = make_rows(5)
    table = load_job(JobFolder(str(job(rows))), tables).table
    before = held(tables, table)
    rows[1]["text"], rows[2]["text"] = "나쁜 문장", " "
    (report,) = update_index(tables, models, Corpus(corpus_file(rows)))
    assert (report.failed, report.embedded) == (2, 0)
    assert set(report.problems) == {rows[1]["id"], rows[2]["id"]}
    assert held(tables, table)[rows[1]["id"]][1:] == before[rows[1]["id"]][1:]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no rows"),
        ([{"id": "a", "text": "글", "title": "", "views": 1}] * 2, "more than one row of id 'a'"),
        ([{"id": "a", "text": "글", "views": 1}], "no column 'title'"),
        ([{"id": "a", "text": "글", "title": "", "views": "많음"}], "does not fit"),
        ([{"id": None, "text": "글", "title": "", "views": 1}], "no id"),
    ],
)
def test_a_corpus_that_cannot_be_read_deletes_nothing(
    url_of, opened, job, make_rows, models, corpus_file, lines, why
) -> None:
    tables = opened(url_of("lancedb"))
    table = load_job(JobFolder(str(job(make_rows(5)))), tables).table
    with pytest.raises(InvalidJob, match=why):
        update_index(tables, models, Corpus(corpus_file(lines)))
    assert tables.sink.count(table) >= 5


def test_csv_and_parquet_corpora_are_read_as_the_same_rows(
    tmp_path, url_of, opened, job, make_rows, models, corpus_file
) -> None:
    tables = opened(url_of("lancedb"))
    rows = [row | {"id": f"글{place}"} for place, row in enumerate(make_rows(20))]
    load_job(JobFolder(str(job(rows))), tables)
    csv = tmp_path / "corpus.csv"
    lines = [",".join(map(str, row.values())) for row in rows]
    csv.write_text("\n".join([",".join(rows[0]), *lines]) + "\n", encoding="cp949")
    parquet = tmp_path / "corpus.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    for corpus in (Corpus(str(csv), encoding="cp949"), Corpus(str(parquet))):
        (report,) = update_index(tables, models, corpus)
        assert (report.reused, report.rewritten, report.embedded) == (20, 0, 0)
