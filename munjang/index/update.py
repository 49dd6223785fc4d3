"""Brings an index up to date with a corpus, and embeds only what changed.

A row whose text is the same, by hash, keeps its vector; one whose carried columns changed is written with the vector it
has. New and changed texts are embedded in the table's own space, whatever version serves. In the end the ids that the
corpus has no more are deleted. A run that is killed is repeated: what it has done is found done.

During a rollover an index has several tables, and each is brought up to date. A rollover may begin meanwhile: so the
list of tables is read again after the last row was written, and those that are new follow.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from munjang.errors import InvalidJob
from munjang.index.embedding import embed_documents
from munjang.index.layout import TEXT_CHARS, Rows, content_hash
from munjang.index.tables import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from munjang.index.corpus import Corpus, CorpusRow
    from munjang.index.embedding import Encodes
    from munjang.index.layout import Layout
    from munjang.index.tables import Tables

BATCH = 512
"""Rows that are embedded and written at once."""

SHOWN = 20
"""Failed rows that a report lists."""


@dataclass(slots=True)
class UpdateReport:
    """What an update did to one table, which keeps it as its manifest.

    Attributes:
        table: which.
        space_id: of its vectors.
        rows: of the corpus.
        reused: rows whose vectors were kept; `rewritten` of them got new values of carried columns.
        embedded: rows that were new or whose texts changed.
        tokens: that the model read for them.
        deleted: rows that the corpus has no more.
        failed: rows whose texts could not be embedded; what the index had of them is kept.
        problems: why, for the first of them, by id.
        versions: the model versions that embedded.
        seconds: that it took.
        at: when it ended, in seconds since the epoch.
    """

    table: str
    space_id: str
    rows: int = 0
    reused: int = 0
    rewritten: int = 0
    embedded: int = 0
    tokens: int = 0
    deleted: int = 0
    failed: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    seconds: float = 0.0
    at: float = 0.0


def update_index(
    tables: Tables,
    encoder: Encodes,
    corpus: Corpus,
    *,
    keep_missing: bool = False,
    progress: Callable[[UpdateReport], None] = lambda _: None,
) -> list[UpdateReport]:
    """Bring every table of an index up to date with a corpus; a report per table, the current one's first.

    Raises:
        IndexNotFound: nothing was loaded yet.
        InvalidJob: the corpus cannot be read, is empty, or has an id twice; nothing was deleted.
        SpaceMismatch, MunjangError: a table's space cannot be embedded any more.
    """
    tables.current()
    done: dict[str, UpdateReport] = {}
    while left := [table for table in tables.state().tables if table not in done]:
        done[left[0]] = _Update(tables, left[0], encoder, progress).run(corpus, keep_missing=keep_missing)
    return list(done.values())


class _Update:
    """The update of one table."""

    def __init__(self, tables: Tables, table: str, encoder: Encodes, progress: Callable[[UpdateReport], None]) -> None:
        self._tables = tables
        self._table = table
        self._layout: Layout = tables.layout(table)
        self._encoder = encoder
        self._progress = progress
        self._report = UpdateReport(table, self._layout.space_id)

    def run(self, corpus: Corpus, *, keep_missing: bool) -> UpdateReport:
        begun = time.monotonic()
        report, sink = self._report, self._tables.sink
        there = {mark.id: mark.content_hash for piece in sink.marks(self._table, self._layout) for mark in piece}
        seen = self._write_changes(corpus, there)
        if not seen:
            msg = f"{corpus.source!r} has no rows, and would empty the index"
            raise InvalidJob(msg, field="corpus")
        if not keep_missing:
            gone = [one for one in there if one not in seen]
            for start in range(0, len(gone), BATCH):
                sink.delete(self._table, gone[start : start + BATCH])
            report.deleted = len(gone)
        if report.embedded + report.rewritten + report.deleted:
            sink.finish(self._table, self._layout)
        report.seconds = round(time.monotonic() - begun, 3)
        report.at = time.time()
        sink.put(self._table, MANIFEST, asdict(report))
        return report

    def _write_changes(self, corpus: Corpus, there: Mapping[Any, str]) -> set[Any]:
        """Write every row of the corpus that is not there as it is; the ids of all."""
        seen: set[Any] = set()
        changed: list[CorpusRow] = []
        rewritten: list[CorpusRow] = []
        for row in corpus.rows(self._layout):
            if row.id in seen:
                msg = f"the corpus has more than one row of id {row.id!r}, and an index holds each id once"
                raise InvalidJob(msg, field="corpus")
            seen.add(row.id)
            self._report.rows += 1
            old, new = there.get(row.id, ""), content_hash(row.text, row.values)
            if old == new:
                self._report.reused += 1
            elif old[:TEXT_CHARS] == new[:TEXT_CHARS]:
                rewritten.append(row)
            else:
                changed.append(row)
            if len(changed) >= BATCH:
                changed = self._embed(changed)
            if len(rewritten) >= BATCH:
                rewritten = self._rewrite(rewritten)
        self._embed(changed)
        self._rewrite(rewritten)
        return seen

    def _embed(self, rows: Sequence[CorpusRow]) -> list[CorpusRow]:
        """Embed and write rows."""
        if not rows:
            return []
        report = self._report
        found = embed_documents(self._encoder, [row.text for row in rows], self._layout)
        for place, problem in sorted(found.problems.items()):
            report.failed += 1
            if len(report.problems) < SHOWN:
                report.problems[str(rows[place].id)] = problem
        good = [rows[place] for place in found.places]
        if good:
            self._write(good, found.vectors, [found.version] * len(good))
            report.versions = sorted({*report.versions, found.version})
        report.embedded += len(good)
        report.tokens += found.tokens
        self._progress(report)
        return []

    def _rewrite(self, rows: Sequence[CorpusRow]) -> list[CorpusRow]:
        """Write rows with the vectors that they have."""
        if not rows:
            return []
        kept = self._tables.sink.fetch(self._table, self._layout, [row.id for row in rows])
        by_id = {row.id: row for row in rows}
        self._write([by_id[one] for one in kept.ids], kept.vectors, kept.versions)
        self._report.reused += len(kept)
        self._report.rewritten += len(kept)
        self._progress(self._report)
        return []

    def _write(self, rows: Iterable[CorpusRow], vectors: Any, versions: list[int]) -> None:
        rows = list(rows)
        columns = {name: [row.values[place] for row in rows] for place, name in enumerate(self._layout.column_names)}
        hashes = [content_hash(row.text, row.values) for row in rows]
        written = Rows([row.id for row in rows], vectors, versions, hashes, columns)
        self._tables.sink.upsert(self._table, self._layout, written)
