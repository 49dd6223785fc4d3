"""A search takes the space from the reply and asks the table of that space, or fails loudly."""

from __future__ import annotations

import pytest

from munjang.errors import IndexNotFound, InvalidOption
from munjang.index.job_folder import JobFolder
from munjang.index.load import load_job
from munjang.search import Index


@pytest.fixture
def filled(url_of, opened, job, make_rows):
    """An index of two spaces, 1 and 2, version 2's being the current one, with its tables."""
    url = url_of("pgvector")
    tables = opened(url)
    for version in (1, 2):
        load_job(JobFolder(str(job(make_rows(50), f"job{version}", version))), tables)
    return url, tables


def test_a_search_asks_the_table_of_the_space_that_answered(filled, models) -> None:
    url, _ = filled
    models.stable = 2
    with Index(url, models) as index:
        for version in (2, 1, 2, 4, 1):
            models.stable = version
            hits = index.search("질문입니다", 5)
            assert len(hits) == 5
            assert {hit.version for hit in hits} == {2 if version == 4 else version}
            assert hits[0].score > hits[-1].score
            assert hits[0].columns.keys() == {"text", "title", "views"}
    queried = [text for _, text in models.texts]
    assert queried == ["질문입니다"] * 5


def test_a_query_is_encoded_with_the_role_of_a_query_unless_a_prompt_is_named(filled, models) -> None:
    url, _ = filled
    models.stable = 1
    seen = []
    encode = models.encode
    models.encode = lambda texts, **options: seen.append(options) or encode(texts, **options)
    with Index(url, models) as index:
        index.search_all(["하나", "둘"], 1)
    with Index(url, models, prompt_name="query") as index:
        index.search("셋", 1)
    assert [(one["role"], one["prompt_name"]) for one in seen] == [("query", ""), ("query", "query")]


def test_a_space_without_a_table_is_a_loud_failure(filled, models) -> None:
    url, tables = filled
    models.stable = 3
    with Index(url, models) as index:
        with pytest.raises(IndexNotFound, match=f"no table of space {models.space(3)}") as caught:
            index.search("질문")
        assert tables.state().current in str(caught.value)
        models.stable = 1
        index.search("질문")
        with pytest.raises(InvalidOption, match="k must"):
            index.search("질문", 0)


def test_a_table_that_was_dropped_meanwhile_is_a_loud_failure(url_of, opened, job, make_rows, models) -> None:
    url = url_of("lancedb")
    tables = opened(url)
    load_job(JobFolder(str(job(make_rows(50)))), tables)
    with Index(url, models) as index:
        index.search("질문")
        tables.drop(tables.state().current)
        with pytest.raises(IndexNotFound, match="no table of space"):
            index.search("질문")


def test_an_index_that_was_never_loaded_is_told(url_of, models) -> None:
    with pytest.raises(IndexNotFound, match="munjang index load"):
        Index(url_of("lancedb"), models)
