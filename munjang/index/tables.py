"""The tables of one index, as the records of its store tell of them: layouts, which are ready, which one is meant.

The record of an index names its `current` table, and during a rollover its `next` and then its `previous` one. Whatever
updates an index writes to all of them. A table is searched only when it is ready.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from munjang.errors import IndexNotFound, InvalidOption
from munjang.index.layout import Layout, table_name

if TYPE_CHECKING:
    from munjang.index.sink import Sink

LAYOUT = "layout"
READY = "ready"
STATE = "state"
MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class IndexState:
    """How an index stands; "" for a table that there is not.

    Attributes:
        current: the table that the store's name means.
        next: the table of a rollover that is not decided, or of a load that is not ready.
        previous: the table that a rollback returns to.
        rollover: what the rollover has recorded of itself.
    """

    current: str = ""
    next: str = ""
    previous: str = ""
    rollover: dict[str, Any] | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that updates keep up to date."""
        return tuple(table for table in (self.current, self.next, self.previous) if table)


class Tables:
    """The tables of the index `name` in a store."""

    def __init__(self, sink: Sink, name: str) -> None:
        self.sink = sink
        self.name = name

    @property
    def _scope(self) -> str:
        return f"index:{self.name}"

    def state(self) -> IndexState:
        """How the index stands now."""
        found = self.sink.records(self._scope).get(STATE)
        return IndexState(**found) if found else IndexState()

    def save(self, state: IndexState) -> None:
        """Write how the index stands."""
        self.sink.put(self._scope, STATE, asdict(state))

    def ensure(self, layout: Layout) -> str:
        """Make the table of a layout's space, or see that the one that is there has this layout; its name.

        Raises:
            SpaceMismatch: there is one of another layout, or of another space whose id begins alike.
            ConfigurationError: the store cannot hold such vectors.
        """
        table = table_name(self.name, layout.space_id)
        found = self.sink.records(table).get(LAYOUT)
        if found is None:
            self.sink.put(table, LAYOUT, layout.as_dict())
        else:
            Layout.of_dict(found).require_same(layout, table)
        self.sink.create(table, layout)
        return table

    def layout(self, table: str) -> Layout:
        """A table's layout.

        Raises:
            IndexNotFound: there is no such table.
        """
        found = self.sink.records(table).get(LAYOUT)
        if found is None:
            msg = f"index {self.name} has no table {table}"
            raise IndexNotFound(msg)
        return Layout.of_dict(found)

    def current(self) -> tuple[str, Layout]:
        """The table that the name means, and its layout.

        Raises:
            IndexNotFound: nothing was loaded yet.
        """
        table = self.state().current
        if not table:
            msg = f"there is no index {self.name} here: load a job's folder first (munjang index load)"
            raise IndexNotFound(msg)
        return table, self.layout(table)

    def searchable(self, space_id: str) -> tuple[str, Layout]:
        """The table in which vectors of a space are searched, and its layout.

        Raises:
            IndexNotFound: there is none, or none that is ready; another space's is never taken.
        """
        table = table_name(self.name, space_id)
        found = self.sink.records(table)
        if READY not in found or found[LAYOUT]["space_id"] != space_id:
            ready = [one for one in self.state().tables if READY in self.sink.records(one)]
            msg = (
                f"index {self.name} has no table of space {space_id}, in which the query was encoded; ready are:"
                f" {', '.join(ready) or 'none'}"
            )
            raise IndexNotFound(msg)
        return table, Layout.of_dict(found[LAYOUT])

    def refuse_third(self, space_id: str) -> None:
        """Refuse to move to another space while the table of the last move is still kept up to date.

        Raises:
            InvalidOption: it is, and neither table is of this space.
        """
        state, table = self.state(), table_name(self.name, space_id)
        if state.previous and table not in state.tables:
            msg = f"index {self.name} still keeps table {state.previous} for a rollback: drop it (munjang index retire)"
            raise InvalidOption(msg, field="name")

    def ready(self, table: str, rows: int) -> None:
        """Record that a table may be searched."""
        self.sink.put(table, READY, {"rows": rows, "at": time.time()})

    def drop(self, table: str) -> None:
        """Remove a table and all that is recorded of it. Killed half-way, it is not searched any more."""
        self.sink.forget(table)
        self.sink.drop(table)
