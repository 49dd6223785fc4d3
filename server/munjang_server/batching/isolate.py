"""What a failed forward means: is it memory, is it one text, and how the rest is tried again. Runs nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang_server.batching.request import Batch, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UnusableRows(Exception):
    """A forward returned something else than one vector a text."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a forward failed for want of memory: MemoryError, or what a runtime has in its place.

    Encoders raise MemoryError by contract; the others are known by name, so that this module needs none of them.
    """
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "bad_alloc" in words)


def good_rows(rows: NDArray[np.float32], texts: int) -> NDArray[np.bool_]:
    """Which rows of a forward are finite: bool [texts].

    Raises:
        UnusableRows: not one row a text, or none of them is finite.
    """
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or len(rows) != texts:  # noqa: PLR2004 - a matrix
        msg = f"the forward of {texts} texts returned {getattr(rows, 'shape', type(rows))}"
        raise UnusableRows(msg)
    good = np.asarray(np.isfinite(rows).all(axis=1))
    if not good.any():
        msg = f"no row of {texts} is finite"
        raise UnusableRows(msg)
    return good


def halves(batch: Batch) -> list[Batch]:
    """Both halves of a batch of two or more texts, as pieces."""
    middle = batch.texts // 2
    return [piece(batch, range(middle)), piece(batch, range(middle, batch.texts))]


def singles(batch: Batch, positions: list[int]) -> list[Batch]:
    """Each of these texts alone, as pieces."""
    return [piece(batch, [position]) for position in positions]


def piece(batch: Batch, positions: range | list[int]) -> Batch:
    """The texts at these positions, ascending, as a batch of their own."""
    places = [(part.request, index) for part in batch.parts for index in part.indices]
    parts: list[Part] = []
    for position in positions:
        request, index = places[position]
        if parts and parts[-1].request is request:
            parts[-1].indices.append(index)
        else:
            parts.append(Part(request, [index]))
    return Batch(batch.version, batch.lane, parts, whole=False)


def living(batch: Batch) -> Batch | None:
    """The same without texts that nobody waits for any more; None if there are no others."""
    if not any(part.request.ended for part in batch.parts):
        return batch
    parts = [part for part in batch.parts if not part.request.ended]
    return Batch(batch.version, batch.lane, parts, batch.whole, batch.retries) if parts else None


def again(batch: Batch) -> Batch:
    """The same batch once more, as a piece."""
    return Batch(batch.version, batch.lane, batch.parts, whole=False, retries=batch.retries + 1)
