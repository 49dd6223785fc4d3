"""The search of the drill: what recall is, that versions do not mix in it, and that a worse version is not promoted."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from munjang.cli.rollover_search import MARGIN, Index, compare, judge, read_corpus, read_index, recall
from munjang.client import Embeddings
from munjang.errors import InvalidOption, JobError, MunjangError

PASSAGES = np.eye(4, dtype=np.float32)
QUESTIONS = np.array([[1, 0, 0, 0], [0.9, 0.8, 0, 0], [0, 0, 0, 1]], np.float32)


@pytest.fixture
def by():
    """The questions' vectors as a server answers them, by a version."""

    def make(version, vectors=QUESTIONS):
        return Embeddings(vectors, version, vectors.shape[1], np.ones(len(vectors), np.uint32))

    return make


@pytest.fixture
def out():
    return Console(file=io.StringIO(), width=200)


def write_index(folder, version=7, ids=("0", "1"), made=7):
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"version": version}))
    np.save(folder / "part-00000.npy", PASSAGES[: len(ids)])
    rows = "".join(json.dumps({"id": key, "version": made}) + "\n" for key in ids)
    (folder / "part-00000.ids.jsonl").write_text(rows)
    return folder


def test_recall_is_the_share_of_questions_whose_own_passage_is_near():
    assert recall(PASSAGES, QUESTIONS, 1) == pytest.approx(1 / 3)
    assert recall(PASSAGES, QUESTIONS, 2) == pytest.approx(2 / 3)
    assert recall(PASSAGES, QUESTIONS, 4) == 1


def test_an_index_takes_no_vectors_of_another_version(by):
    index = Index(7, PASSAGES)
    assert index.recall(by(7), 2) == pytest.approx(2 / 3)
    with pytest.raises(InvalidOption, match="vectors of version 8 cannot be searched for in an index of version 7"):
        index.recall(by(8), 2)


def test_an_index_is_read_as_a_job_wrote_it(tmp_path):
    index = read_index(write_index(tmp_path / "index"))
    assert index.version == 7
    np.testing.assert_array_equal(index.vectors, PASSAGES[:2])


@pytest.mark.parametrize("wrong", [{"made": 8}, {"ids": ("0", "0")}, {"ids": ("1", "0")}])
def test_an_index_with_a_row_of_another_version_or_out_of_place_is_refused(tmp_path, wrong):
    with pytest.raises(JobError, match="not a whole index of version 7"):
        read_index(write_index(tmp_path / "index", **wrong))


def test_a_version_that_finds_less_is_not_promoted(by, out):
    judge(0.8, 0.8 - MARGIN / 2)
    with pytest.raises(MunjangError, match=r"not promoted: the new version's recall@5 is 0.600, the old one's 0.800"):
        judge(0.8, 0.6)
    far = np.vstack([PASSAGES, np.repeat(PASSAGES[3:], 6, axis=0)])
    lost = np.tile(PASSAGES[3], (3, 1))
    with pytest.raises(MunjangError, match="not promoted"):
        compare(out, (Index(1, far), by(1)), (Index(2, far), by(2, lost)))


def test_both_versions_are_measured_and_the_mixture_too(by, out):
    compare(out, (Index(1, PASSAGES), by(1)), (Index(2, PASSAGES), by(2)))
    said = out.file.getvalue()
    assert said.count("0.333") == 3
    assert "cannot be searched for" in said


def test_every_question_has_a_passage_of_its_own():
    corpus = read_corpus()
    assert len(corpus.questions) == 64
    assert len(set(corpus.passages)) == len(corpus.passages) > 2 * len(corpus.questions) - 10
    assert not set(corpus.questions) & set(corpus.passages)


def test_the_corpus_is_written_with_places_as_ids(tmp_path):
    corpus = replace(read_corpus(), passages=("하나", "둘"))
    corpus.write(tmp_path / "c.jsonl")
    assert [json.loads(line) for line in (tmp_path / "c.jsonl").read_text("utf-8").splitlines()] == [
        {"id": "0", "text": "하나"},
        {"id": "1", "text": "둘"},
    ]
