"""Searches an index by text: encodes the query, and asks the table of the space that the reply names, and no other.

    from munjang.client import Client
    from munjang.search import Index

    with Client("127.0.0.1:50051") as client, Index("postgresql://localhost/shop/faq", client) as index:
        for hit in index.search("환불은 어떻게 하나요?", k=5):
            print(hit.score, hit.id, hit.columns)

The server may move to another version at any time, and the index with it: each query is searched among vectors of its
own space, or not at all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from munjang.errors import ConfigurationError, InvalidOption, SearchIndexError
from munjang.index.address import open_sink, parse_address
from munjang.index.embedding import query_options, require_space
from munjang.index.layout import Hit
from munjang.index.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang.index.embedding import Encodes
    from munjang.index.layout import Layout

__all__ = ["Hit", "Index"]


class Index:
    """A search index and what encodes its queries. May be used by several threads; close it, or use it in `with`."""

    def __init__(self, url: str, encoder: Encodes, *, version: str | int = "", prompt_name: str = "") -> None:
        """Connect.

        Args:
            url: the index, as `munjang index load` has it.
            encoder: a `munjang.client.Client`, or a `munjang.Encoder` in this process.
            version: whose vectors the queries get; "" is "stable". Its space must be in the index.
            prompt_name: the prompt of queries; "" is the one that the model has for the role of a query.

        Raises:
            ConfigurationError: the URL names no index, or the store's client library is not installed.
            StoreUnavailable: the store does not answer.
            IndexNotFound: there is no such index in it.
        """
        address = parse_address(url)
        self._encoder = encoder
        self._version = version
        self._prompt_name = prompt_name
        self._lock = threading.Lock()
        self._tables = Tables(open_sink(address), address.name)
        try:
            self._place: tuple[str, Layout] = self._tables.current()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the store; the encoder is the caller's."""
        self._tables.sink.close()

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """The `k` rows that are nearest to a query, best first.

        Raises:
            InvalidOption: `k` is below 1.
            IndexNotFound: the index has no table of the space that answered, or none that is ready.
            MunjangError: the query could not be encoded, or the store does not answer.
        """
        return self.search_all([query], k)[0]

    def search_all(self, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """The same for several queries, which are encoded together, and so all in one space."""
        if k < 1:
            msg = "k must be 1 or more"
            raise InvalidOption(msg, field="k")
        table, layout, vectors = self._encode(queries)
        with self._lock:
            try:
                return self._tables.sink.search(table, layout, vectors, k)
            except (SearchIndexError, ConfigurationError):
                self._tables.searchable(layout.space_id)  # says so if the table was dropped meanwhile
                raise

    def _encode(self, queries: Sequence[str]) -> tuple[str, Layout, Any]:
        """The queries' vectors, and the table of their space."""
        table, layout = self._place
        options = query_options(layout, self._prompt_name)
        reply = self._encoder.encode(list(queries), version=self._version, **options)
        if reply.space_id != layout.space_id:  # the server has moved on, or this index was opened before it did
            with self._lock:
                table, layout = self._tables.searchable(reply.space_id)
            if query_options(layout, self._prompt_name) != options:
                options = query_options(layout, self._prompt_name)
                reply = self._encoder.encode(list(queries), version=layout.space_id, **options)
            require_space(reply, layout)
            self._place = table, layout
        return table, layout, np.asarray(reply.vectors).astype(layout.dtype, copy=False)
