"""An encoder for loading beside versions that serve: small batches, and a pause after each forward."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from munjang.encoder.sequence_packing import SHORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, Encoder, ModelInfo, Piece, Prompting, Tokens

BUDGET = 4 * SHORT
"""The most tokens of a batch; a single text may have more."""

REST = 2.0
"""The pause, as a multiple of the forward before it: so loading takes at most a third of the processor."""


class ThrottledEncoder:
    """An `Encoder` that pauses after each forward; everything else is passed to the encoder that it wraps."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def info(self) -> ModelInfo:
        return self._encoder.info

    @property
    def streams(self) -> int:
        return self._encoder.streams

    @property
    def on_cpu(self) -> bool:
        return self._encoder.on_cpu

    @property
    def packs(self) -> bool:
        return self._encoder.packs

    def tokenize(self, texts: Sequence[str], how: Prompting | None = None) -> list[Tokens]:
        return self._encoder.tokenize(texts, how)

    def pieces(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[list[Piece]]:
        return self._encoder.pieces(texts, prompt, special=special)

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        return self._encoder.tokenize_pairs(pairs)

    def forward(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """Run the forward, then pause."""
        started = time.monotonic()
        rows = self._encoder.forward(batch, share=share, cancellation=cancellation)
        time.sleep(REST * (time.monotonic() - started))
        return rows

    def computed(self, lengths: Sequence[int]) -> int:
        return self._encoder.computed(lengths)

    def tidy(self) -> None:
        self._encoder.tidy()

    def close(self) -> None:
        self._encoder.close()
