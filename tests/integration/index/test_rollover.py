"""A rollover under searches and updates: nothing fails, nothing mixes, and a kill at any step is gone on from."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from munjang.encoder.prompting import prompting
from munjang.encoder.similarity import matrix
from munjang.errors import ConfigurationError, InvalidOption, SearchIndexError, VersionInUse
from munjang.index.address import open_sink, parse_address
from munjang.index.comparison import Query, compare, holds, page, sample_queries
from munjang.index.corpus import Corpus
from munjang.index.job_folder import JobFolder
from munjang.index.load import load_job
from munjang.index.rollover import Rollover
from munjang.index.tables import Tables
from munjang.index.update import update_index
from munjang.kinds import Role
from munjang.registry import Description
from munjang.search import Index

PROGRAM = Path(__file__).with_name("rollover_program.py")
SEARCHERS, UPDATERS, COUNT = 4, 2, 800
LAST_WORDS = ("is kept up to date with", "rows embedded", "is ready", "faq means table", "stable names version")
"""The steps after which a rollover is killed, in order."""


def contents(tables, table: str) -> dict[Any, str]:
    layout = tables.layout(table)
    return {mark.id: mark.content_hash for piece in tables.sink.marks(table, layout) for mark in piece}


def run_until(url: str, registry: str, words: str) -> bool:
    """Run the rollover, and kill it when it says some words; whether it came to its end instead."""
    command = [sys.executable, str(PROGRAM), url, registry, "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if words in line:
                    return line.strip() == "end"
        finally:
            process.kill()
    pytest.fail(f"the rollover ended without saying {words!r}")


class Busy:
    """Threads that search and update an index until they are told to end; what they saw."""

    def __init__(self, url: str, served, corpus_rows, tmp_path: Path) -> None:
        self.url, self.served, self.rows, self.folder = url, served, corpus_rows, tmp_path
        self.ended = threading.Event()
        self.failures: list[str] = []
        self.answered: dict[int, int] = {}
        self.updates = 0
        self.threads = [threading.Thread(target=self._search, args=(n,)) for n in range(SEARCHERS)]
        self.threads += [threading.Thread(target=self._update, args=(n,)) for n in range(UPDATERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _search(self, number: int) -> None:
        try:
            with Index(self.url, self.served) as index:
                while not self.ended.is_set():
                    query = f"질문 {number} {sum(self.answered.values())}"
                    hits = index.search(query, 3)
                    (version,) = {hit.version for hit in hits}
                    self._check(query, version, hits)
                    self.answered[version] = self.answered.get(version, 0) + 1
        except Exception as error:  # noqa: BLE001 - told by the test
            self.failures.append(f"search: {error!r}")

    def _check(self, query: str, version: int, hits) -> None:
        """The scores are those of the version's own query and texts."""
        encoder = self.served.encoder(version)
        asked = encoder.forward(encoder.tokenize([query], prompting(encoder.info, role=Role.QUERY)))
        texts = encoder.forward(encoder.tokenize([hit.columns["text"] for hit in hits]))
        wanted = matrix(asked, texts, "cosine")[0]
        if any(abs(hit.score - score) > 1e-3 for hit, score in zip(hits, wanted, strict=True)):
            self.failures.append(f"the scores of version {version} are {hits}, not {wanted}")

    def _update(self, number: int) -> None:
        address = parse_address(self.url)
        tables = Tables(open_sink(address), address.name)
        try:
            round_ = 0
            while not self.ended.is_set():
                round_ += 1
                path = self.folder / f"update-{number}.jsonl"
                part = [row for row in self.rows if row["views"] % UPDATERS == number]
                part[0]["text"] = f"바뀐 글 {number} {round_}"
                self.write(path, part)
                update_index(tables, self.served, Corpus(str(path)), keep_missing=True)
                self.updates += 1
        except Exception as error:  # noqa: BLE001 - told by the test
            self.failures.append(f"update: {error!r}")
        finally:
            tables.sink.close()

    @staticmethod
    def write(path: Path, rows) -> None:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_a_rollover_that_is_killed_at_every_step_fails_no_search_and_mixes_none(
    url_of, opened, job, make_rows, served, tmp_path
) -> None:
    url = url_of("pgvector")
    tables = opened(url)
    rows = make_rows(COUNT)
    old = load_job(JobFolder(str(job(rows, models=served))), tables).table
    with Busy(url, served, rows, tmp_path) as busy:
        for words in LAST_WORDS:
            assert not run_until(url, served.registry.url, words)
        assert run_until(url, served.registry.url, "end")
        limit = threading.Event()
        for _ in range(600):
            if busy.answered.get(2, 0) > 20 or busy.failures:
                break
            limit.wait(0.05)
    assert busy.failures == []
    assert busy.answered[1] > 20
    assert busy.answered[2] > 20
    assert busy.updates > 2
    state = tables.state()
    assert (state.previous, state.next) == (old, "")
    assert contents(tables, state.current) == contents(tables, old)
    assert len(contents(tables, old)) == COUNT
    assert served.registry.resolve("stable") == 2

    rollover = Rollover(tables, served, served.registry)
    with pytest.raises(InvalidOption, match="munjang index retire"):
        rollover.prepare("3")
    assert rollover.rollback() == old
    assert served.registry.resolve("stable") == 1
    with Index(url, served) as index:
        assert {hit.version for hit in index.search("질문")} == {1}
    assert rollover.retire() == [state.current]
    assert contents(tables, old)


@pytest.fixture
def beside(url_of, opened, job, make_rows, served):
    """An index by version 1 with the rollover to version 2 prepared: the rollover, the index, both tables' names."""
    tables = opened(url_of("lancedb"))
    old = load_job(JobFolder(str(job(make_rows(300), models=served))), tables).table
    rollover = Rollover(tables, served, served.registry)
    return rollover, tables, old, rollover.prepare("2")


def test_before_the_decision_the_old_version_answers_and_the_new_table_is_given_up_by_a_rollback(
    beside, served
) -> None:
    rollover, tables, old, new = beside
    assert tables.state().tables == (old, new)
    assert served.registry.resolve("stable") == 1
    assert served.registry.resolve("next") == 2
    with pytest.raises(InvalidOption, match="rollover to version 2 is under way"):
        rollover.prepare("3")
    assert rollover.rollback() == old
    assert tables.state().tables == (old,)
    with pytest.raises(SearchIndexError, match="no table to return to"):
        rollover.rollback()


def test_updates_go_to_both_tables(beside, served, make_rows, corpus_file) -> None:
    _, tables, old, new = beside
    rows = make_rows(300)[1:]
    rows[5]["text"] = "바뀐 글"
    reports = update_index(tables, served, Corpus(corpus_file(rows)))
    assert [(one.table, one.embedded, one.deleted) for one in reports] == [(old, 1, 1), (new, 1, 1)]
    assert contents(tables, old) == contents(tables, new)


def test_the_table_that_an_alias_searches_is_not_retired(beside, served) -> None:
    rollover, tables, old, new = beside
    rollover.switch("2")
    served.registry.promote("stable", 1)
    with pytest.raises(VersionInUse, match="alias stable names version 1"):
        rollover.retire()
    served.registry.promote("stable", 2)
    assert rollover.retire() == [old]
    assert tables.state().tables == (new,)


def test_searches_of_both_tables_are_compared(beside, served) -> None:
    _, tables, old, new = beside
    same = compare(tables, served, old, sample_queries(tables, 20))
    assert (same.overlap, same.rank_change, same.first_same, same.queries) == (1.0, 0.0, 1.0, 20)
    assert same.new.recall is None
    with pytest.raises(InvalidOption, match="no answers"):
        holds("recall>=0.5", same)
    first = served.encode(["질문"], version=2, role="query").vectors
    nearest = tables.sink.search(new, tables.layout(new), first, 10)[0]
    other = compare(tables, served, new, [Query("질문", (nearest[0].id,))])
    assert (other.new.recall, other.new.ndcg) == (1.0, 1.0)
    assert other.overlap < 0.5
    assert holds("recall>=0.9, overlap<=0.5", other)
    assert not holds("recall>=0.9,overlap>=0.9", other)
    with pytest.raises(InvalidOption, match="no condition"):
        holds("recall=1", other)
    text = page(other, "faq")
    assert tables.layout(new).space_id in text
    assert "| new |" in text


def test_a_version_of_the_same_space_moves_the_alias_alone(url_of, opened, job, make_rows, served, tmp_path) -> None:
    (tmp_path / "model-2" / "README.md").write_text("another card")
    second = served.registry.manifest(2)
    fourth = served.registry.publish(tmp_path / "model-2", Description.model_validate(second.model_dump()))
    assert (fourth.version, fourth.space_id) == (4, second.space_id)
    tables = opened(url_of("lancedb"))
    table = load_job(JobFolder(str(job(make_rows(20), version=2, models=served))), tables).table
    served.registry.promote("stable", 2)
    rollover = Rollover(tables, served, served.registry)
    assert rollover.prepare("4") == table
    rollover.switch("4")
    assert served.registry.resolve("stable") == 4
    assert tables.state().tables == (table,)
    assert served.texts == []


def test_an_index_without_texts_cannot_be_embedded_again(url_of, opened, job, make_rows, served) -> None:
    tables = opened(url_of("lancedb"))
    load_job(JobFolder(str(job(make_rows(20), carry_columns=["title"], models=served))), tables)
    with pytest.raises(ConfigurationError, match="keeps no texts"):
        Rollover(tables, served, served.registry).prepare("2")
