import numpy as np
import pytest

from munjang.client.results import Embeddings, RankedDocument, Ranking, Scores


def embeddings(value=0.5, **changed):
    fields = {
        "vectors": np.full((3, 4), value, np.float32),
        "version": 7,
        "dimensions": 4,
        "token_counts": np.array([1, 2, 3], np.uint32),
        "space_id": "5a" * 16,
    }
    return Embeddings(**(fields | changed))


def test_embeddings_print_in_one_short_line():
    assert repr(embeddings()) == f"Embeddings(3 × 4 float32, version=7, space_id='{'5a' * 16}')"
    packed = embeddings(vectors=np.zeros((3, 1), np.uint8), dimensions=8, truncated=(0, 2), space_id="")
    assert repr(packed) == "Embeddings(3 × 8 bits, version=7, truncated=2)"


def test_embeddings_are_a_list_of_vectors_and_an_array():
    found = embeddings()
    assert len(found) == 3
    assert [row.shape for row in found] == [(4,)] * 3
    assert np.array_equal(np.asarray(found), found.vectors)
    assert np.asarray(found, np.float64).dtype == np.float64
    assert np.shares_memory(np.asarray(found), found.vectors)
    assert np.matmul(found, np.ones(4)).shape == (3,)


def test_embeddings_are_equal_when_all_their_fields_are():
    assert embeddings() == embeddings()
    assert embeddings() != embeddings(0.25)
    assert embeddings() != embeddings(version=8)
    assert embeddings() != embeddings(vectors=np.full((3, 4), 0.5, np.float16))
    assert embeddings() != "no embeddings"
    assert embeddings() in [embeddings(0.25), embeddings()]


@pytest.mark.parametrize(
    "make",
    [
        lambda score: Scores(np.array([[score]], np.float32), 7, "cosine", None, np.ones(1), np.ones(1)),
        lambda score: Scores(np.array([[score]], np.float32), 7, "cosine", np.array([[score]]), np.ones(1), np.ones(1)),
        lambda score: Ranking((RankedDocument(0, score),), 7, "5a", np.ones(1, np.uint32)),
    ],
)
def test_scores_and_rankings_compare_without_raising(make):
    assert make(1.0) == make(1.0)
    assert make(1.0) != make(2.0)
