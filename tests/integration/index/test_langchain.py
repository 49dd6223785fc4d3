"""LangChain: texts are embedded by their roles, and a retriever gives what the index's own search finds."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from munjang.errors import InvalidOption
from munjang.index.job_folder import JobFolder
from munjang.index.load import load_job
from munjang.langchain import MunjangEmbeddings, MunjangRetriever
from munjang.search import Index


def test_documents_and_queries_are_embedded_by_their_roles(models) -> None:
    embeddings = MunjangEmbeddings(models, version=2)
    texts = ["하나", "둘"]
    given = models.encode(texts, version=2, role="document").vectors
    assert np.array_equal(np.array(embeddings.embed_documents(texts), np.float32), given)
    asked = models.encode(["하나"], version=2, role="query").vectors[0]
    assert np.array_equal(np.array(embeddings.embed_query("하나"), np.float32), asked)
    assert not np.array_equal(asked, given[0])
    assert embeddings.embed_documents([]) == []


def test_a_retriever_gives_the_rows_of_the_index(url_of, opened, job, make_rows, models) -> None:
    url = url_of("lancedb")
    load_job(JobFolder(str(job(make_rows(50), "job", 1))), opened(url))
    models.stable = 1
    with Index(url, models) as index:
        hits = index.search("질문입니다", 3)
        retriever = MunjangRetriever(index=index, k=3)
        found = retriever.invoke("질문입니다")
        assert [one.page_content for one in found] == [hit.columns["text"] for hit in hits]
        assert [one.id for one in found] == [str(hit.id) for hit in hits]
        assert found[0].metadata == {
            "title": hits[0].columns["title"],
            "views": hits[0].columns["views"],
            "score": hits[0].score,
            "version": 1,
        }
        assert asyncio.run(retriever.ainvoke("질문입니다")) == found
        with pytest.raises(InvalidOption, match="no column 'body'") as refused:
            MunjangRetriever(index=index, text_column="body").invoke("질문입니다")
        assert refused.value.field == "text_column"
