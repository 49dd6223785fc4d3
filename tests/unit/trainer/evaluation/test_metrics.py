from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from munjang.vectors import Precision
from munjang_trainer.data.table import Table
from munjang_trainer.evaluation.evaluate import VectorFormat, vector_formats
from munjang_trainer.evaluation.metrics import Sample, compute_metrics, difference, interval, search, spearman


def vectors_of(known):
    return lambda texts: np.array([known[text] for text in texts], np.float32)


def test_correlations_are_those_of_scipy():
    draw = np.random.default_rng(0)
    left, right = draw.standard_normal((2, 50, 8)).astype(np.float32)
    labels = draw.integers(0, 6, 50) / 5
    table = Table("sts", [(f"왼쪽 {i}", f"오른쪽 {i}", float(labels[i])) for i in range(50)])
    known = {f"왼쪽 {i}": left[i] for i in range(50)} | {f"오른쪽 {i}": right[i] for i in range(50)}
    figures, sample = compute_metrics(table, vectors_of(known))
    cosines = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    dots = (left * right).sum(1)
    assert figures["cosine_spearman"] == pytest.approx(stats.spearmanr(cosines, labels).statistic, abs=1e-6)
    assert figures["cosine_pearson"] == pytest.approx(stats.pearsonr(cosines, labels).statistic, abs=1e-6)
    assert figures["dot_spearman"] == pytest.approx(stats.spearmanr(dots, labels).statistic, abs=1e-6)
    assert figures["dot_pearson"] == pytest.approx(stats.pearsonr(dots, labels).statistic, abs=1e-6)
    assert sample.figure() == figures["cosine_spearman"]


def test_a_model_that_tells_nothing_apart_scores_zero():
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_a_triplet_counts_if_the_positive_is_nearer():
    table = Table("triplets", [("가", "나", "다"), ("가", "다", "나")])
    known = {"가": [1, 0], "나": [1, 0.1], "다": [0, 1]}
    assert compute_metrics(table, vectors_of(known))[0] == {"accuracy": 0.5}


def test_retrieval_finds_the_texts_of_a_group():
    texts, groups = ["a1", "a2", "a3", "b1", "b2", "외톨이"], ["a", "a", "a", "b", "b", "c"]
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.9, 0.15], [0.1, 1]], np.float32)
    ranks = search(vectors, groups, texts)
    assert len(ranks.reciprocal) == 5  # the lonely text is no query
    assert ranks.recall1.tolist() == [1, 0, 0, 0, 0]
    assert ranks.reciprocal[3] == pytest.approx(1 / 3)  # the lonely text and a3 are nearer to b1 than b2 is
    assert ranks.recall10.tolist() == [1, 1, 1, 1, 1]


def test_texts_that_read_the_same_are_no_candidates():
    vectors = np.array([[1, 0], [1, 0], [0.9, 0.1]], np.float32)
    ranks = search(vectors, ["a", "b", "a"], ["같은 글", "같은 글", "다른 글"])
    assert ranks.recall1.tolist() == [1, 1]


def test_recall_at_ten_is_of_ten_where_more_are_wanted():
    vectors = np.eye(1, 4, dtype=np.float32).repeat(21, axis=0)
    ranks = search(vectors, ["a"] * 21, [f"글 {i}" for i in range(21)])
    assert set(ranks.recall10) == {1.0}


def test_forms_keep_what_they_promise():
    rows = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
    assert [form.name for form in vector_formats((8,), tuple(Precision), 0.01)] == [
        "",
        "float16",
        "bfloat16",
        "int8",
        "ubinary",
        "8d",
    ]
    assert "int8" not in [form.name for form in vector_formats((), tuple(Precision), 0)]
    assert VectorFormat().apply(rows, 0) is rows
    assert VectorFormat(dimensions=8).apply(rows, 0).shape == (20, 8)
    binary = VectorFormat(precision=Precision.UBINARY).apply(rows, 0)
    assert (binary == np.where(rows > 0, 1, -1)).all()


def test_the_interval_of_a_difference_cancels_what_both_find_hard():
    draw = np.random.default_rng(1)
    labels = draw.standard_normal(300)
    noise = draw.standard_normal(300)
    worse, better = Sample(labels + 1.1 * noise, labels), Sample(labels + 0.9 * noise, labels)
    change = difference(worse, better, resamples=200, confidence=0.95, seed=1)
    alone = interval(better, resamples=200, confidence=0.95, seed=1)
    assert 0 < change.low < change.value < change.high
    assert change.high - change.low < (alone.high - alone.low) / 2


def test_intervals_are_the_same_for_the_same_seed():
    sample = Sample(np.arange(50.0) % 7)
    first, second, other = (interval(sample, resamples=100, confidence=0.9, seed=seed) for seed in (3, 3, 4))
    assert first == second != other


def test_different_rows_are_not_compared():
    with pytest.raises(ValueError, match="not the same rows"):
        difference(Sample(np.ones(2)), Sample(np.ones(3)), resamples=100, confidence=0.9, seed=1)
