"""How vectors of a model are compared, by the function that the model names; the same as sentence-transformers'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.postprocess import normalized

if TYPE_CHECKING:
    from numpy.typing import NDArray


def matrix(queries: NDArray[np.float32], candidates: NDArray[np.float32], function: str) -> NDArray[np.float32]:
    """Scores float32 [q, c] of raw vectors [q, d] and [c, d]; higher means more similar.

    Distances are computed per row of queries, so memory stays q × c and no precision is lost to cancellation.
    """
    scores: NDArray[np.float32]
    match function:
        case "cosine":
            scores = np.clip(normalized(queries) @ normalized(candidates).T, -1, 1)
        case "dot":
            scores = queries @ candidates.T
        case "euclidean":
            scores = -np.stack([np.linalg.norm(candidates - query, axis=1) for query in queries])
        case "manhattan":
            scores = -np.stack([np.abs(candidates - query).sum(axis=1) for query in queries])
        case _:
            msg = f"unknown similarity function {function!r}"
            raise ValueError(msg)
    return scores


def pairwise(left: NDArray[np.float32], right: NDArray[np.float32], function: str) -> NDArray[np.float32]:
    """Scores float32 [n] of raw vectors [n, d] row by row; higher means more similar."""
    scores: NDArray[np.float32]
    match function:
        case "cosine":
            scores = np.clip(np.vecdot(normalized(left), normalized(right)), -1, 1)
        case "dot":
            scores = np.vecdot(left, right)
        case "euclidean":
            scores = -np.linalg.norm(left - right, axis=1)
        case "manhattan":
            scores = -np.abs(left - right).sum(axis=1)
        case _:
            msg = f"unknown similarity function {function!r}"
            raise ValueError(msg)
    return scores


def top_k(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The `k` highest scores of each row of float32 [q, c], best first, and their columns: both [q, min(k, c)].

    Of equal scores the left one comes first.
    """
    columns = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, columns, axis=1), columns
