"""How vectors of a model are compared, by the function that the model names; the same as sentence-transformers'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.postprocess import normalized

if TYPE_CHECKING:
    from numpy.typing import NDArray


def matrix(queries: NDArray[np.float32], candidates: NDArray[np.float32], function: str) -> NDArray[np.float32]:
    """Scores float32 [q, c] of raw vectors [q, d] and [c, d]; higher is nearer."""
    match function:
        case "cosine":
            return np.clip(normalized(queries) @ normalized(candidates).T, -1, 1)
        case "dot":
            return queries @ candidates.T
        case "euclidean":
            return -_euclidean(queries, candidates)
        case "manhattan":
            rows = [np.abs(candidates - query).sum(axis=1) for query in queries]
            return -np.stack(rows).astype(np.float32)
        case _:
            msg = f"unknown similarity function {function!r}"
            raise ValueError(msg)


def pairwise(left: NDArray[np.float32], right: NDArray[np.float32], function: str) -> NDArray[np.float32]:
    """Scores float32 [n] of raw vectors [n, d] row by row; higher is nearer."""
    match function:
        case "cosine":
            return np.clip(np.einsum("ij,ij->i", normalized(left), normalized(right)), -1, 1)
        case "dot":
            return np.einsum("ij,ij->i", left, right)
        case "euclidean":
            return -np.linalg.norm(left - right, axis=1).astype(np.float32)
        case "manhattan":
            return -np.abs(left - right).sum(axis=1).astype(np.float32)
        case _:
            msg = f"unknown similarity function {function!r}"
            raise ValueError(msg)


def _euclidean(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances [q, c], row by row of queries so that memory stays q × c and the difference is exact."""
    rows = [np.linalg.norm(candidates - query, axis=1) for query in queries]
    return np.stack(rows).astype(np.float32)
