"""Scores are those of sentence-transformers' own functions."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.util import SimilarityFunction

from munjang.encoder.similarity import matrix, pairwise

FUNCTIONS = ["cosine", "dot", "euclidean", "manhattan"]


def vectors(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 32)).astype(np.float32) * 3


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_matrix_is_that_of_sentence_transformers(function: str) -> None:
    queries, candidates = vectors(4, seed=1), vectors(7, seed=2)
    ours = matrix(queries, candidates, function)
    theirs = SimilarityFunction.to_similarity_fn(function)(queries, candidates).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_pairs_are_those_of_sentence_transformers(function: str) -> None:
    left, right = vectors(6, seed=3), vectors(6, seed=4)
    ours = pairwise(left, right, function)
    theirs = SimilarityFunction.to_similarity_pairwise_fn(function)(left, right).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_pairs_are_the_diagonal_of_the_matrix(function: str) -> None:
    left, right = vectors(6, seed=5), vectors(6, seed=6)
    np.testing.assert_allclose(
        pairwise(left, right, function), matrix(left, right, function).diagonal(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("function", ["cosine", "euclidean", "manhattan"])
def test_nothing_is_nearer_to_a_vector_than_itself(function: str) -> None:
    own = vectors(5, seed=7)
    scores = matrix(own, own, function)
    np.testing.assert_allclose(scores.diagonal(), 1 if function == "cosine" else 0, atol=1e-6)
    assert (scores <= scores.diagonal()[:, None] + 1e-6).all()


def test_a_cosine_is_never_above_one() -> None:
    own = np.full((64, 3), 0.1, np.float32)
    assert matrix(own, own, "cosine").max() <= 1
    assert pairwise(own, own, "cosine").max() <= 1


def test_distances_of_near_and_long_vectors_keep_their_digits() -> None:
    base = np.full((1, 64), 1000.0, np.float32)
    near = base.copy()
    near[0, 0] += 0.25
    for function in ("euclidean", "manhattan"):
        assert matrix(base, near, function)[0, 0] == pytest.approx(-0.25)


@pytest.mark.parametrize("compare", [matrix, pairwise])
def test_an_unknown_function_is_named(compare: object) -> None:
    with pytest.raises(ValueError, match="'hamming'"):
        compare(vectors(1, seed=8), vectors(1, seed=9), "hamming")  # type: ignore[operator]
