"""What munjang needs of a vector store. Each engine of `stores/` implements it with the store's own client.

Every method that writes can be repeated: a process may be killed between any two of its effects, and calls it again.
Besides tables a sink keeps records, small JSON objects by scope and key: layouts, which shards are loaded, and how an
index stands. `tables` has what only depends on records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from munjang.index.layout import Hit, Layout, Mark, Rows

RECORDS = "munjang_records"
"""The table or collection in which a store keeps the records."""

SCAN_ROWS = 4096
"""Rows of one piece of a scan."""


class Sink(Protocol):
    """One store. May be used by one thread at a time; others may write to the same store meanwhile.

    Every method raises StoreUnavailable where the store does not answer.
    """

    def supports(self, layout: Layout) -> str:
        """Why the store cannot hold such vectors, in words; "" if it can."""

    def create(self, table: str, layout: Layout) -> None:
        """Make a table, unless it is there. Its approximate index is made by `finish`."""

    def upsert(self, table: str, layout: Layout, rows: Rows) -> None:
        """Write rows, over those of the same ids: each id is there once afterwards. All or, if killed, some of them."""

    def finish(self, table: str, layout: Layout) -> None:
        """Make or refresh the table's approximate index, after many rows were written."""

    def count(self, table: str) -> int:
        """The number of rows."""

    def delete(self, table: str, ids: Sequence[Any]) -> None:
        """Delete rows by id; those that are not there are passed over."""

    def marks(self, table: str, layout: Layout) -> Iterator[list[Mark]]:
        """All rows' ids, hashes and versions, in pieces, in no order."""

    def fetch(self, table: str, layout: Layout, ids: Sequence[Any]) -> Rows:
        """The rows of some ids, in no order; those that are not there are left out."""

    def search(self, table: str, layout: Layout, queries: NDArray[Any], k: int) -> list[list[Hit]]:
        """The `k` nearest rows of each query [q, layout.width] of `layout.dtype`, best first."""

    def switch(self, name: str, table: str, layout: Layout) -> None:
        """Let the name that other programs read, a view or an alias, mean a table; at once, for every reader.

        A store without such names does nothing: `tables.Tables` keeps a record, too.
        """

    def drop(self, table: str) -> None:
        """Remove a table, if it is there. A name that means it must be moved first."""

    def put(self, scope: str, key: str, value: dict[str, Any]) -> None:
        """Write a record, over one of the same scope and key."""

    def records(self, scope: str) -> dict[str, dict[str, Any]]:
        """All records of a scope by key."""

    def forget(self, scope: str) -> None:
        """Remove all records of a scope."""

    def close(self) -> None:
        """Close the connection."""
