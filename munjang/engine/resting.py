"""How the forwards of a load stand back while other versions serve: small ones, each followed by a rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from munjang.encoder.sequence_packing import SHORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, Encoder, ModelInfo, Tokens

BUDGET = 4 * SHORT
"""The most tokens of a batch; a single text may have more."""

REST = 2.0
"""A rest, in times of what came before it: so loading takes at most a third of the processor."""


class Resting:
    """An `Encoder` for probing and warming beside versions that serve."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def info(self) -> ModelInfo:
        """See `Encoder.info`."""
        return self._encoder.info

    @property
    def streams(self) -> int:
        """See `Encoder.streams`."""
        return self._encoder.streams

    @property
    def packs(self) -> bool:
        """See `Encoder.packs`."""
        return self._encoder.packs

    def tokenize(self, texts: Sequence[str], prompt_name: str = "") -> list[Tokens]:
        """See `Encoder.tokenize`."""
        return self._encoder.tokenize(texts, prompt_name)

    def forward(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """The forward, with a rest at its end."""
        since = time.monotonic()
        rows = self._encoder.forward(batch, share=share, cancellation=cancellation)
        time.sleep(REST * (time.monotonic() - since))
        return rows

    def computed(self, lengths: Sequence[int]) -> int:
        """See `Encoder.computed`."""
        return self._encoder.computed(lengths)

    def tidy(self) -> None:
        """See `Encoder.tidy`."""
        self._encoder.tidy()

    def close(self) -> None:
        """See `Encoder.close`."""
        self._encoder.close()
