"""Tokens of a block into vectors: batches, forwards. A row that the model fails on becomes a problem.

The batches of a block depend on its texts alone, so a row's vector does not depend on shards, workers or resumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rq.timeouts import BaseTimeoutException

from munjang.encoder.sequence_packing import plan
from munjang.errors import EngineUnavailable
from munjang_worker.preparing import failure
from munjang_worker.reading.block import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Tokens
    from munjang_worker.preparing import Prepared

PROBE = "문장"
"""A text that every model can encode: if it fails, the model is broken and not the row."""


@dataclass(slots=True)
class Encoded:
    """A block's vectors.

    Attributes:
        first: the first row's number in the whole input.
        table: id and carried columns of all rows.
        positions: the rows that have a vector, ascending.
        vectors: raw float32 [len(positions), dimensions], as the model gives them.
        problems: why the others have none, by position.
        tokens: how many the model read for the rows that have a vector.
        truncated: how many of those texts were cut.
    """

    first: int
    table: pa.Table
    positions: list[int]
    vectors: NDArray[np.float32]
    problems: dict[int, Problem]
    tokens: int
    truncated: int


class BlockEncoder:
    """Encodes blocks with one encoder."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        batch_tokens: int,
        poll: Callable[[], None] = lambda: None,
        forwarded: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Choose how.

        Args:
            encoder: the model.
            batch_tokens: the most tokens of one forward, padding included.
            poll: called between batches; what it raises goes through.
            forwarded: told the rows of every batch that was run.
        """
        self._encoder = encoder
        self._budget = batch_tokens
        self._poll = poll
        self._forwarded = forwarded

    def __call__(self, prepared: Prepared) -> Encoded:
        """Run the model.

        Raises:
            EngineUnavailable: the model fails whatever the text.
        """
        order = sorted(prepared.tokens)
        rows = np.zeros((len(order), self._encoder.info.dimensions), np.float32)
        failed: dict[int, Problem] = {}
        tokens = [prepared.tokens[position] for position in order]
        for batch in plan([len(found) for found in tokens], self._budget, packs=self._encoder.packs):
            self._poll()
            self._forward(batch, tokens, rows, failed)
            self._forwarded(len(batch))
        for index in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
            failed.setdefault(int(index), Problem("ENCODE_FAILED", "the model gave values that are not finite"))
        kept = [index for index in range(len(order)) if index not in failed]
        return Encoded(
            first=prepared.first,
            table=prepared.table,
            positions=[order[index] for index in kept],
            vectors=rows[kept] if failed else rows,
            problems=prepared.problems | {order[index]: problem for index, problem in failed.items()},
            tokens=sum(len(tokens[index]) for index in kept),
            truncated=sum(tokens[index].truncated for index in kept),
        )

    def _forward(
        self, batch: Sequence[int], tokens: Sequence[Tokens], rows: NDArray[np.float32], failed: dict[int, Problem]
    ) -> None:
        """Fill the rows of a batch; one that fails is halved until only the rows are left that fail alone."""
        try:
            rows[list(batch)] = self._encoder.forward([tokens[index] for index in batch])
        except BaseTimeoutException:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a text does to the model, the other rows go on
            if len(batch) == 1:
                self._require_engine(error)
                failed[batch[0]] = failure(error)
                return
            self._poll()
            half = len(batch) // 2
            self._forward(batch[:half], tokens, rows, failed)
            self._forward(batch[half:], tokens, rows, failed)

    def _require_engine(self, cause: Exception) -> None:
        try:
            self._encoder.forward(self._encoder.tokenize([PROBE]))
        except BaseTimeoutException:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of the probe means the same
            msg = f"the model fails on every text: {failure(error).message}"
            raise EngineUnavailable(msg) from cause
