"""Loading a job's folder: killed at any moment, each row is there once in the end, and the name moves last."""

from __future__ import annotations

import json

import numpy as np
import psycopg
import pytest

from munjang.encoder.similarity import matrix
from munjang.errors import ConfigurationError, HashMismatch, IndexNotFound, InvalidJob, SearchIndexError, SpaceMismatch
from munjang.index.job_folder import JobFolder
from munjang.index.layout import Rows, agree
from munjang.index.load import Loading, load_job

COUNT = 2600
KILLS = 3


def all_rows(folder: JobFolder) -> Rows:
    parts = [folder.read(shard) for shard in folder.shards]
    return Rows(
        ids=[one for part in parts for one in part.ids],
        vectors=np.concatenate([part.vectors for part in parts]),
        versions=[one for part in parts for one in part.versions],
        hashes=[one for part in parts for one in part.hashes],
        columns={name: [one for part in parts for one in part.columns[name]] for name in folder.layout.column_names},
    )


def assert_holds(tables, table: str, folder: JobFolder) -> None:
    """The table holds exactly the folder's rows, each once, with the right vector and columns."""
    given, sink = all_rows(folder), tables.sink
    marks = [mark for piece in sink.marks(table, folder.layout) for mark in piece]
    assert len(marks) == sink.count(table) == len(given)
    assert {mark.id: mark.content_hash for mark in marks} == dict(zip(given.ids, given.hashes, strict=True))
    kept = sink.fetch(table, folder.layout, given.ids)
    places = {one: place for place, one in enumerate(kept.ids)}
    kept = kept.take([places[one] for one in given.ids])
    assert agree(kept.vectors, given.vectors, folder.layout).all()
    assert kept.columns == given.columns


def test_a_load_that_is_killed_three_times_leaves_each_row_once_and_finds_the_nearest(
    url, opened, job, make_rows, loader
) -> None:
    path = job(make_rows(COUNT))
    for killed in range(KILLS):
        process = loader(path, url)
        lines = [process.stdout.readline() for _ in range(2 * killed + 2)]  # two more shards, and it is at the third
        assert lines[-1].strip().isdigit()
        process.kill()
        process.wait()
    process = loader(path, url)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    shards = -(-COUNT // 256)
    assert int(out.split()[-1]) <= shards - 2 * KILLS, "what had been loaded was loaded again"

    tables, folder = opened(url), JobFolder(str(path))
    table, layout = tables.current()
    assert table == f"faq__{folder.layout.space_id[:12]}"
    assert_holds(tables, table, folder)
    rows = all_rows(folder)
    queries = rows.vectors[::13][:200]
    hits = tables.sink.search(table, layout, queries, 10)
    nearest = np.sort(matrix(queries, rows.vectors, "cosine"), axis=1)[:, -10]  # of equal ones, any is right
    right = [hit.score >= least - 1e-5 for found, least in zip(hits, nearest, strict=True) for hit in found]
    assert sum(right) >= 0.99 * len(queries) * 10


def test_rows_are_missing_until_the_load_has_ended_and_no_name_means_the_table(url, opened, job, make_rows) -> None:
    folder = JobFolder(str(job(make_rows(600))))
    tables = opened(url)
    loading = Loading(folder, tables)
    loading.prepare()
    loading.load(folder.shards[0])
    with pytest.raises(IndexNotFound, match="no index faq"):
        tables.current()
    with pytest.raises(IndexNotFound, match="no table of space"):
        tables.searchable(folder.layout.space_id)
    with pytest.raises(SearchIndexError, match="lacks 344 of 600 rows"):
        loading.finish(switch=True)
    with pytest.raises(IndexNotFound):
        tables.current()
    report = load_job(folder, tables)
    assert (report.rows, report.other_rows, report.shards_loaded) == (600, 0, 3)
    assert tables.searchable(folder.layout.space_id)[0] == report.table


def test_a_vector_that_is_not_the_folders_is_found_before_the_name_moves(url, opened, job, make_rows) -> None:
    folder = JobFolder(str(job(make_rows(100))))
    tables = opened(url)
    loading = Loading(folder, tables)
    loading.prepare()
    loading.load(folder.shards[0])
    rows = folder.read(folder.shards[0])
    wrong = rows.take([3])
    wrong.vectors = rows.vectors[[4]]
    tables.sink.upsert(loading.table, folder.layout, wrong)
    with pytest.raises(SearchIndexError, match="another vector"):
        loading.finish(switch=True)
    assert tables.state().current == ""
    load_job(folder, tables)  # loads everything again
    assert_holds(tables, loading.table, folder)


def test_a_second_load_writes_over_the_first_and_the_name_moves_to_another_space(url, opened, job, make_rows) -> None:
    first, second = (JobFolder(str(job(make_rows(300), f"job{version}", version))) for version in (1, 2))
    tables = opened(url)
    one = load_job(first, tables).table
    load_job(first, tables)
    assert_holds(tables, one, first)
    beside = load_job(second, tables, switch=False)
    assert tables.current()[0] == one
    assert tables.state().next == beside.table
    two = load_job(second, tables).table
    assert two == beside.table
    assert_holds(tables, one, first)
    assert_holds(tables, two, second)
    state = tables.state()
    assert (state.current, state.previous, state.next) == (two, one, "")


@pytest.mark.parametrize("precision", ["float16", "int8", "ubinary"])
def test_a_job_of_another_precision_is_loaded_where_the_store_can_hold_it(
    url, opened, job, make_rows, precision
) -> None:
    folder = JobFolder(str(job(make_rows(300), precision=precision)))
    tables = opened(url)
    if problem := tables.sink.supports(folder.layout):
        with pytest.raises(ConfigurationError, match="bits") as caught:
            load_job(folder, tables)
        assert problem in str(caught.value)
        return
    assert_holds(tables, load_job(folder, tables).table, folder)


def test_rows_of_the_same_space_made_in_another_way_are_refused(url_of, opened, job, make_rows) -> None:
    tables = opened(url_of("lancedb"))
    load_job(JobFolder(str(job(make_rows(10)))), tables)
    prompted = JobFolder(str(job(make_rows(10), "prompted", prompt_name="query")))
    with pytest.raises(SpaceMismatch, match="prompt_name"):
        load_job(prompted, tables)


def test_what_cannot_be_loaded_is_refused_with_what_to_do(tmp_path, url_of, opened, job, make_rows) -> None:
    with pytest.raises(InvalidJob, match="no manifest"):
        JobFolder(str(tmp_path))
    with pytest.raises(InvalidJob, match="--format parquet"):
        JobFolder(str(job(make_rows(5), "text", format="jsonl")))
    with pytest.raises(InvalidJob, match="carries no column 'body'"):
        JobFolder(str(job(make_rows(5), "columns")), text_column="body")
    twice = job([*make_rows(5), *make_rows(1)], "twice")
    tables = opened(url_of("lancedb"))
    with pytest.raises(InvalidJob, match="more than one row of id"):
        load_job(JobFolder(str(twice)), tables)
    path = job(make_rows(5), "damaged")
    folder = JobFolder(str(path))
    part = path / folder.shards[0].name
    whole = part.read_bytes()
    place = whole.index(folder.read(folder.shards[0]).vectors.tobytes())
    part.write_bytes(whole[:-1] + b"x")
    with pytest.raises(HashMismatch, match="damaged"):
        load_job(folder, tables)
    part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(HashMismatch, match="sha256"):
        load_job(folder, tables)
    part.write_bytes(whole)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["space_id"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidJob, match="names no space_id"):
        JobFolder(str(path))


def test_the_view_of_postgres_reads_the_current_table_and_names_its_space(url_of, opened, job, make_rows) -> None:
    url = url_of("pgvector")
    tables = opened(url)
    for version in (1, 2):
        folder = JobFolder(str(job(make_rows(20), f"job{version}", version)))
        load_job(folder, tables)
        with psycopg.connect(url.replace("/faq?", "?")) as connection:
            found = connection.execute("SELECT count(*), min(space_id), min(version), max(version) FROM faq").fetchone()
        assert found == (20, folder.layout.space_id, version, version)
