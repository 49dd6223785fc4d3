"""Loads a finished job's folder into a table: shard by shard, then checked, and then meant by the index's name.

A shard is written by id and recorded as loaded afterwards. So whenever a load is killed, the next one goes on where it
was, and every row is there once. The records are removed at the end: a later load of the same folder writes it again.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.errors import ConfigurationError, SearchIndexError
from munjang.index.layout import agree

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.index.job_folder import JobFolder, Shard
    from munjang.index.tables import Tables

SAMPLE = 256
"""Vectors that are compared with the folder's before the name moves."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load has done; `other_rows` are those that the table holds besides the job's."""

    table: str
    space_id: str
    version: int
    rows: int
    other_rows: int
    shards_loaded: int
    shards_found: int
    switched: bool
    seconds: float


class Loading:
    """The loading of one job's folder into one index; its steps can be done by several processes."""

    def __init__(self, folder: JobFolder, tables: Tables) -> None:
        self._folder = folder
        self._tables = tables
        self._sink = tables.sink
        self._table = ""

    def prepare(self) -> None:
        """Make the table, or see that it holds what the folder has.

        Raises:
            ConfigurationError: the store cannot hold such vectors.
            SpaceMismatch: the table holds others.
            InvalidJob: two rows have one id.
            InvalidOption: the index keeps a table for a rollback, and this would be a third space.
        """
        problem = self._sink.supports(self._folder.layout)
        if problem:
            msg = f"{problem}; run the job with another precision, or take another store"
            raise ConfigurationError(msg, field="url")
        self._tables.refuse_third(self._folder.layout.space_id)
        self._folder.require_unique_ids()
        self.open()

    def open(self) -> None:
        """Make the table unless it is there. Raises as `prepare`, but looks at no rows."""
        self._table = self._tables.ensure(self._folder.layout)

    def left(self) -> list[int]:
        """The numbers of the shards that are not recorded as loaded."""
        done = self._sink.records(self._scope)
        return [one.number for one in self._folder.shards if done.get(str(one.number)) != {"sha256": one.sha256}]

    def load(self, shard: Shard) -> bool:
        """Write a shard, unless it is recorded as loaded; whether it was written.

        Raises:
            HashMismatch: the shard's file is damaged.
        """
        key = str(shard.number)
        if self._sink.records(self._scope).get(key) == {"sha256": shard.sha256}:
            return False
        if shard.rows:
            self._sink.upsert(self._table, self._folder.layout, self._folder.read(shard))
        self._sink.put(self._scope, key, {"sha256": shard.sha256})
        return True

    def finish(self, *, switch: bool) -> int:
        """Make the approximate index, compare with the folder, and let the index's name mean the table.

        Returns:
            How many rows the table holds besides the job's.

        Raises:
            SearchIndexError: rows are missing or differ; the shards are loaded again next time, and no name has moved.
        """
        layout = self._folder.layout
        self._sink.finish(self._table, layout)
        try:
            others = self._compare()
        except SearchIndexError:
            self._sink.forget(self._scope)
            raise
        self._tables.ready(self._table, self._sink.count(self._table))
        state = self._tables.state()
        if switch and state.current != self._table:
            self._sink.switch(self._tables.name, self._table, layout)
            kept = state.previous if state.previous != self._table else ""
            self._tables.save(replace(state, current=self._table, previous=state.current or kept, next=""))
        elif switch:
            self._sink.switch(self._tables.name, self._table, layout)
        elif self._table not in state.tables:
            self._tables.save(replace(state, next=self._table))
        self._sink.forget(self._scope)
        return others

    @property
    def table(self) -> str:
        """The table's name, once it was opened."""
        return self._table

    @property
    def _scope(self) -> str:
        return f"load:{self._table}:{self._folder.fingerprint[:16]}"

    def _compare(self) -> int:
        """See that every row of the folder is there, and a sample of the vectors; how many others are."""
        marks = [mark.id for piece in self._sink.marks(self._table, self._folder.layout) for mark in piece]
        there = set(marks)
        if len(there) < len(marks):
            msg = f"table {self._table} has {len(marks)} rows of {len(there)} ids: something else writes to it"
            raise SearchIndexError(msg)
        wanted = 0
        missing: list[Any] = []
        for ids in self._folder.ids():
            wanted += len(ids)
            missing += [one for one in ids if one not in there]
        if missing:
            msg = f"table {self._table} lacks {len(missing)} of {wanted} rows, such as {missing[:3]}"
            raise SearchIndexError(msg)
        self._compare_sample()
        return len(there) - wanted

    def _compare_sample(self) -> None:
        shards = [shard for shard in self._folder.shards if shard.rows]
        if not shards:
            return
        chance = random.Random(self._folder.fingerprint)  # noqa: S311 - a sample, no secret
        shard = chance.choice(shards)
        rows = self._folder.read(shard)
        given = rows.take(sorted(chance.sample(range(len(rows)), min(SAMPLE, len(rows)))))
        kept = self._sink.fetch(self._table, self._folder.layout, given.ids)
        places = {one: place for place, one in enumerate(kept.ids)}
        ordered = kept.take([places[one] for one in given.ids])
        right = agree(ordered.vectors, given.vectors, self._folder.layout)
        if not right.all() or ordered.hashes != given.hashes:
            wrong = given.ids[int(np.argmin(right))]
            msg = f"table {self._table} holds another vector than {self._folder.url} has for row {wrong!r}"
            raise SearchIndexError(msg)


def load_job(
    folder: JobFolder, tables: Tables, *, switch: bool = True, progress: Callable[[int, int], None] = lambda *_: None
) -> LoadReport:
    """Load a job's folder. May be killed at any moment and called again.

    Args:
        folder: the job's.
        tables: the index.
        switch: let the index's name mean the table in the end; else it only stands ready beside the current one.
        progress: called with the rows that are loaded, and all.

    Raises:
        MunjangError: see the steps of `Loading`.
    """
    begun = time.monotonic()
    loading = Loading(folder, tables)
    loading.prepare()
    loaded = done = 0
    for shard in folder.shards:
        loaded += loading.load(shard)
        done += shard.rows
        progress(done, folder.rows)
    others = loading.finish(switch=switch)
    return LoadReport(
        table=loading.table,
        space_id=folder.layout.space_id,
        version=folder.version,
        rows=folder.rows,
        other_rows=others,
        shards_loaded=loaded,
        shards_found=len(folder.shards) - loaded,
        switched=switch,
        seconds=round(time.monotonic() - begun, 3),
    )
