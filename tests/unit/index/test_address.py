"""The URL of an index names a store and an index, or is refused with what to write."""

from __future__ import annotations

import sys

import pytest

from munjang.errors import ConfigurationError
from munjang.index.address import open_sink, parse_address


@pytest.mark.parametrize(
    ("url", "engine", "location", "name", "embedded"),
    [
        ("postgresql://u:p@host:5433/shop/faq", "pgvector", "postgresql://u:p@host:5433/shop", "faq", False),
        ("postgresql://u@/shop/faq?host=/run/pg", "pgvector", "postgresql://u@/shop?host=/run/pg", "faq", False),
        ("qdrant+https://host:6333/faq", "qdrant", "qdrant+https://host:6333", "faq", False),
        ("milvus://host:19530/my_faq2/", "milvus", "milvus://host:19530", "my_faq2", False),
        ("/data/faq.lance", "lancedb", "/data/faq.lance", "faq", True),
        ("s3://bucket/a/faq.lance", "lancedb", "s3://bucket/a/faq.lance", "faq", True),
        ("/data/faq.qdrant", "qdrant", "/data/faq.qdrant", "faq", True),
        ("/data/faq.db", "milvus", "/data/faq.db", "faq", True),
    ],
)
def test_a_url_is_read(url, engine, location, name, embedded):
    found = parse_address(url)
    assert (found.engine, found.location, found.name, found.embedded) == (engine, location, name, embedded)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://host/faq", "names no index"),
        ("qdrant://host:6333", "names no index"),
        ("mysql://host/faq", "names no store"),
        ("faq", "names no store"),
        ("s3://bucket/faq.db", "names no store"),
        ("/data/질문.lance", "cannot name an index"),
        ("/data/faq__1.lance", "cannot name an index"),
        ("qdrant://host/FAQ", "cannot name an index"),
    ],
)
def test_what_names_no_index_is_refused(url, why):
    with pytest.raises(ConfigurationError, match=why):
        parse_address(url)


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("postgresql://host/shop/faq", "psycopg", "pgvector"),
        ("/data/faq.qdrant", "qdrant_client", "qdrant"),
        ("/data/faq.lance", "lancedb", "lancedb"),
        ("/data/faq.db", "pymilvus", "milvus"),
    ],
)
def test_a_client_library_that_is_missing_names_its_extra(monkeypatch, url, library, extra):
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"munjang.index.stores.{extra}", raising=False)
    with pytest.raises(ConfigurationError, match=rf"pip install 'munjang\[{extra}\]'"):
        open_sink(parse_address(url))
