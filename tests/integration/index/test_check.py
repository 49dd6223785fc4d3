"""The doctor names the cause of every vector that is not what the table says, and repairs those rows alone."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.errors import VersionNotReady
from munjang.index.check import DAMAGED, LONG, STALE, check_index
from munjang.index.job_folder import JobFolder
from munjang.index.load import load_job

COUNT = 600


@pytest.fixture
def sick(url_of, opened, job, make_rows, served):
    """A table of documents with a prompt in which 5 % come from another version, 1 % lack the prompt, and so on."""
    tables = opened(url_of("lancedb"))
    folder = JobFolder(str(job(make_rows(COUNT), prompt_name="query", models=served)))
    table = load_job(folder, tables).table
    layout = folder.layout
    ids = [mark.id for piece in tables.sink.marks(table, layout) for mark in piece]
    rows = tables.sink.fetch(table, layout, ids)

    def change(places: range, **options) -> None:
        part = rows.take(list(places))
        asked = {"version": 1, "prompt_name": "query", "normalize": True} | options
        part.vectors = served.encode(part.columns["text"], **asked).vectors
        tables.sink.upsert(table, layout, part)

    change(range(30), version=2)
    change(range(30, 36), prompt_name="", prompt="")
    change(range(36, 42), normalize=False)
    part = rows.take([42])
    part.vectors = -part.vectors
    tables.sink.upsert(table, layout, part)
    part = rows.take([43])
    part.columns["text"] = ["그 뒤에 바뀐 글"]
    tables.sink.upsert(table, layout, part)
    return tables, table, layout, rows


def test_every_cause_is_found_and_repaired_and_nothing_else_is_touched(sick, served) -> None:
    tables, table, layout, rows = sick
    report = check_index(tables, served, served.registry, sample=0)
    assert report.causes == {
        "made by version 2": 30,
        "without a prompt": 6,
        LONG: 6,
        DAMAGED: 1,
        STALE: 1,
    }
    assert (report.checked, report.right, report.repaired) == (COUNT, COUNT - 44, 0)
    assert set(report.examples[DAMAGED]) == {rows.ids[42]}

    served.texts.clear()
    repaired = check_index(tables, served, served.registry, sample=0, repair=True)
    assert repaired.repaired == 44
    after = check_index(tables, served, served.registry, sample=0)
    assert (after.right, after.causes) == (COUNT, {})
    kept = tables.sink.fetch(table, layout, rows.ids[44:])
    before = dict(zip(rows.ids, rows.vectors, strict=True))
    assert all(np.array_equal(vector, before[one]) for one, vector in zip(kept.ids, kept.vectors, strict=True))


def test_a_sample_is_drawn_and_a_version_that_is_not_loaded_is_named(sick, served, monkeypatch) -> None:
    tables, *_ = sick
    encode = served.encode

    def only_first(texts, *, version="", **options):
        if version != served.space(1):
            raise VersionNotReady(str(version))
        return encode(texts, version=version, **options)

    monkeypatch.setattr(served, "encode", only_first)
    report = check_index(tables, served, served.registry, sample=500)
    assert report.checked == 500
    assert report.not_tried == {2, 3}
    assert report.causes[DAMAGED] > 1
