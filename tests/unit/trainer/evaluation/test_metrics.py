from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from munjang.vectors import Precision
from munjang_trainer.data.table import Table
from munjang_trainer.evaluation.evaluate import VectorFormat, vector_formats
from munjang_trainer.evaluation.metrics import Sample, compute_samples, difference, figures_of, interval, spearman


def vectors_of(known):
    return lambda texts, role=None: np.array([known[text] for text in texts], np.float32)


def test_correlations_are_those_of_scipy():
    draw = np.random.default_rng(0)
    left, right = draw.standard_normal((2, 50, 8)).astype(np.float32)
    labels = draw.integers(0, 6, 50) / 5
    table = Table("sts", [(f"왼쪽 {i}", f"오른쪽 {i}", float(labels[i])) for i in range(50)])
    known = {f"왼쪽 {i}": left[i] for i in range(50)} | {f"오른쪽 {i}": right[i] for i in range(50)}
    samples = compute_samples(table, vectors_of(known))
    figures = figures_of(samples)
    cosines = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    dots = (left * right).sum(1)
    assert figures["cosine_spearman"] == pytest.approx(stats.spearmanr(cosines, labels).statistic, abs=1e-6)
    assert figures["cosine_pearson"] == pytest.approx(stats.pearsonr(cosines, labels).statistic, abs=1e-6)
    assert figures["dot_spearman"] == pytest.approx(stats.spearmanr(dots, labels).statistic, abs=1e-6)
    assert figures["dot_pearson"] == pytest.approx(stats.pearsonr(dots, labels).statistic, abs=1e-6)
    assert figures["related_cosine"] == pytest.approx(cosines[labels >= 0.8].mean(), abs=1e-6)
    assert -1 <= figures["random_cosine"] <= 1


def test_a_model_that_tells_nothing_apart_scores_zero():
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_a_triplet_counts_if_the_positive_is_nearer():
    table = Table("triplets", [("가", "나", "다"), ("가", "다", "나")])
    known = {"가": [1, 0], "나": [1, 0.1], "다": [0, 1]}
    assert figures_of(compute_samples(table, vectors_of(known))) == {"accuracy": 0.5}


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
