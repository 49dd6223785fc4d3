"""Moves an index to another version of the model, beside the searches and updates that go on.

The new version is loaded beside the old one under an alias of its own, every text is embedded again into a second
table, both tables are kept up to date, and searches in both are compared. Then the store's name moves, and the server's
alias. A search asks the table of the space that its reply names, so it finds what it should before, between and after.

Every step can be repeated: a rollover that is killed goes on when the same command is run again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from munjang.errors import ConfigurationError, InvalidOption, SearchIndexError, TryLater, VersionInUse, VersionNotReady
from munjang.index.embedding import embed_documents
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from munjang.index.embedding import Embedded, Encodes
    from munjang.index.layout import Layout, Rows
    from munjang.index.tables import IndexState, Tables
    from munjang.registry.layout import AliasRecord, Manifest

CANDIDATE = "next"
"""The alias that makes servers load the new version; callers get it only on request."""

BY = "munjang index rollover"
BATCH = 512
MOST_PASSES = 100
"""Comparisons of the two tables before a rollover gives up: updates change rows faster than it can follow."""


class Aliases(Protocol):
    """What a rollover needs of the registry; see `munjang.registry.Registry`."""

    def resolve(self, name: str) -> int:
        """The version of a name."""

    def manifest(self, version: int) -> Manifest:
        """A version's manifest."""

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        """Let an alias name a version."""

    def aliases(self) -> dict[str, AliasRecord]:
        """All aliases."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was done to bring the new table up to date; rows whose texts failed are in neither count."""

    table: str
    embedded: int
    deleted: int
    tokens: int
    failed: int


class Rollover:
    """The rollover of one index."""

    def __init__(
        self,
        tables: Tables,
        encoder: Encodes,
        registry: Aliases,
        *,
        alias: str = "stable",
        wait_seconds: float = 600,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take what it works with.

        Args:
            tables: the index.
            encoder: what embeds; it serves all versions that an alias names.
            registry: where aliases move.
            alias: the alias by which searches are encoded.
            wait_seconds: how long the encoder may take to load the new version.
            say: called with a line for every step that was done.
        """
        self._tables = tables
        self._encoder = encoder
        self._registry = registry
        self._alias = alias
        self._wait = wait_seconds
        self._say = say

    def prepare(self, name: str) -> str:
        """Bring the table of a version up to date beside the current one; its name. It may be the current one itself.

        Raises:
            InvalidOption: another rollover is under way, or the one before was not retired.
            ConfigurationError: the table keeps no texts, or the version cannot give what the index holds.
            MunjangError: the version is not to be had.
        """
        version = self._registry.resolve(name)
        manifest = self._registry.manifest(version)
        table, layout = self._tables.current()
        state = self._tables.state()
        under_way = (state.rollover or {}).get("to", version)
        if state.next and under_way != version:
            msg = f"a rollover to version {under_way} is under way: finish it, or end it with rollback"
            raise InvalidOption(msg, field="to")
        if manifest.space_id == layout.space_id:
            self._say(f"version {version} makes the vectors that the index holds: nothing is embedded again")
            return table
        self._tables.refuse_third(manifest.space_id)
        record = state.rollover if under_way == version and state.rollover else {"to": version, "from": self._serving()}
        fresh = next_layout(layout, manifest)
        if not fresh.text_column:
            msg = "the index keeps no texts to embed again: load it from a job that carries its text column"
            raise ConfigurationError(msg, field="text_column")
        self._registry.promote(CANDIDATE, version, BY)
        made = self._tables.ensure(fresh)
        self._tables.save(replace(state, next=made, rollover=record))  # from here on, updates write to both
        self._say(f"version {version} is {CANDIDATE}, and table {made} is kept up to date with {table}")
        report = self._follow(table, layout, made, fresh)
        self._tables.sink.finish(made, fresh)
        self._tables.ready(made, self._tables.sink.count(made))
        self._say(
            f"table {made} is ready: {report.embedded} rows embedded, {report.deleted} deleted, {report.failed} failed"
        )
        return made

    def switch(self, name: str) -> None:
        """Let the store's name and the alias mean what `prepare` has made.

        Raises:
            SearchIndexError: nothing was prepared for this version.
        """
        version = self._registry.resolve(name)
        space = self._registry.manifest(version).space_id
        table, layout = self._tables.current()
        if layout.space_id != space:
            made, fresh = self._tables.searchable(space)
            self._follow(table, layout, made, fresh)
            self._tables.sink.switch(self._tables.name, made, fresh)
            state = self._tables.state()
            self._tables.save(replace(state, current=made, previous=table, next=""))
            self._say(f"{self._tables.name} means table {made}")
        self._registry.promote(self._alias, version, BY)
        self._say(f"{self._alias} names version {version}")

    def rollback(self) -> str:
        """Return to the table and version from before; before the switch, give the new table up. The current table.

        Raises:
            SearchIndexError: there is nothing to return to.
        """
        state = self._tables.state()
        if state.previous:
            former = (state.rollover or {}).get("from")
            if former:
                self._registry.promote(self._alias, int(former), BY)
            self._tables.sink.switch(self._tables.name, state.previous, self._tables.layout(state.previous))
            state = replace(state, current=state.previous, previous="", next=state.current)
            self._tables.save(state)
        elif state.next:
            self._tables.save(replace(state, next="", rollover=None))
            self._tables.drop(state.next)
        else:
            msg = f"index {self._tables.name} has no table to return to"
            raise SearchIndexError(msg)
        current = self._tables.state().current
        self._say(f"{self._tables.name} means table {current}")
        return current

    def retire(self) -> list[str]:
        """Drop every table but the current one; their names.

        Raises:
            VersionInUse: an alias names a version whose queries are searched in one of them.
        """
        state = self._tables.state()
        others = [table for table in (state.previous, state.next) if table]
        for table in others:
            self._refuse_used(table)
        self._tables.save(replace(state, previous="", next="", rollover=None))
        for table in others:
            self._tables.drop(table)
            self._say(f"table {table} is dropped")
        return others

    def _refuse_used(self, table: str) -> None:
        space = self._tables.layout(table).space_id
        for alias, record in self._registry.aliases().items():
            if alias != CANDIDATE and self._registry.manifest(record.version).space_id == space:
                msg = f"alias {alias} names version {record.version}, whose queries are searched in table {table}"
                raise VersionInUse(msg)

    def _serving(self) -> int:
        """The version that the alias names before the rollover."""
        return self._registry.resolve(self._alias)

    def _follow(self, table: str, layout: Layout, made: str, fresh: Layout) -> CopyReport:
        """Embed what differs, until a comparison of the two tables finds nothing more."""
        embedded = deleted = tokens = 0
        failed: dict[Any, str] = {}
        for _ in range(MOST_PASSES):
            differing, gone = self._differences(table, layout, made, fresh)
            wrong = [one for one, content in differing.items() if failed.get(one) != content]
            if not wrong and not gone:
                return CopyReport(made, embedded, deleted, tokens, len(failed))
            for start in range(0, len(gone), BATCH):
                self._tables.sink.delete(made, gone[start : start + BATCH])
            deleted += len(gone)
            for start in range(0, len(wrong), BATCH):
                rows = self._tables.sink.fetch(table, layout, wrong[start : start + BATCH])
                found = self._embed(rows, fresh)
                good = rows.take(found.places)
                good.vectors, good.versions = found.vectors, [found.version] * len(good)
                if good.ids:
                    self._tables.sink.upsert(made, fresh, good)
                failed |= {rows.ids[place]: rows.hashes[place] for place in found.problems}
                embedded += len(good)
                tokens += found.tokens
                self._say(f"{embedded} rows embedded")
        msg = f"table {table} changes faster than {made} can follow: run the rollover again when fewer updates come"
        raise SearchIndexError(msg)

    def _differences(self, table: str, layout: Layout, made: str, fresh: Layout) -> tuple[dict[Any, str], list[Any]]:
        """The rows that are missing in or differ from the new table, with their hashes; those that are only there."""
        sink = self._tables.sink
        there = {mark.id: mark.content_hash for piece in sink.marks(made, fresh) for mark in piece}
        wanted = {mark.id: mark.content_hash for piece in sink.marks(table, layout) for mark in piece}
        wrong = {one: content for one, content in wanted.items() if there.get(one) != content}
        return wrong, [one for one in there if one not in wanted]

    def _embed(self, rows: Rows, fresh: Layout) -> Embedded:
        """Embed the rows' texts, and wait for the version at first."""
        texts: Sequence[str] = [text or "" for text in rows.columns[fresh.text_column]]
        limit = time.monotonic() + self._wait
        while True:
            try:
                return embed_documents(self._encoder, texts, fresh)
            except (TryLater, VersionNotReady) as error:
                if time.monotonic() > limit:
                    raise
                time.sleep(min(5.0, error.retry_after or 0.5))


def next_layout(layout: Layout, manifest: Manifest) -> Layout:
    """The layout of the same rows by another version.

    Raises:
        ConfigurationError: the version cannot give such vectors.
    """
    if layout.cut and layout.dimensions > manifest.dimensions:
        msg = (
            f"version {manifest.version} has {manifest.dimensions} dimensions, and the index holds {layout.dimensions}"
        )
        raise ConfigurationError(msg, field="dimensions")
    int8 = layout.precision is Precision.INT8
    if int8 and not manifest.int8_scale:
        msg = f"version {manifest.version} was published without the calibration that int8 needs"
        raise ConfigurationError(msg, field="precision")
    if layout.prompt_name and layout.prompt_name not in manifest.prompts:
        msg = f"version {manifest.version} has no prompt {layout.prompt_name!r}, which the index's texts have"
        raise ConfigurationError(msg, field="prompt_name")
    return replace(
        layout,
        space_id=manifest.space_id,
        dimensions=layout.dimensions if layout.cut else manifest.dimensions,
        similarity=manifest.similarity,
        int8_scale=manifest.int8_scale if int8 else 0.0,
    )


def describe(state: IndexState) -> Mapping[str, Any]:
    """How an index stands, for people."""
    record = state.rollover or {}
    return {
        "current": state.current,
        "next": state.next,
        "previous": state.previous,
        "from_version": record.get("from", 0),
        "to_version": record.get("to", 0),
    }
