"""Our server, whose forwards can be hurt while it runs.

    python -m tests.bench.serving.hurt ORDER_FILE

Before each forward the order in the file is read: nothing (the model runs), `raise` (it fails), `stuck` (it does not
come back before the order changes), `memory N` (there is none for more than N tokens), `poison TEXT` (it fails with
this text in it), `instant` (rows that are always the same, at once).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.engine.version_loader import VersionLoader
from munjang_server import app
from munjang_server.main import main
from munjang_server.shutdown import exit_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Cancellation, Encoder, ModelInfo, Prompting, Tokens
    from munjang.registry import Manifest


class Hurt:
    """An `Encoder` that follows orders."""

    def __init__(self, inner: Encoder, orders: Path) -> None:
        self._inner = inner
        self._orders = orders

    @property
    def info(self) -> ModelInfo:
        """Of the model."""
        return self._inner.info

    @property
    def streams(self) -> int:
        """Of the model."""
        return self._inner.streams

    @property
    def on_cpu(self) -> bool:
        """Of the model."""
        return self._inner.on_cpu

    @property
    def packs(self) -> bool:
        """Of the model."""
        return self._inner.packs

    def tokenize(self, texts: Sequence[str], how: Prompting | None = None) -> list[Tokens]:
        """As the model does."""
        return self._inner.tokenize(texts, how)

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """As the model does."""
        return self._inner.tokenize_pairs(pairs)

    def computed(self, lengths: Sequence[int]) -> int:
        """As the model does."""
        return self._inner.computed(lengths)

    def tidy(self) -> None:
        """As the model does."""
        self._inner.tidy()

    def close(self) -> None:
        """As the model does."""
        self._inner.close()

    def forward(
        self, batch: Sequence[Tokens], *, share: bool = False, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """What was ordered, or what the model does."""
        order, _, argument = self._orders.read_text("utf-8").partition(" ")
        if order == "raise":
            raise RuntimeError("ordered to fail")
        if order == "memory" and sum(map(len, batch)) > int(argument):
            raise MemoryError
        if order == "poison" and self.tokenize([argument])[0] in batch:
            raise RuntimeError("poisoned")
        while order == "stuck":
            time.sleep(0.005)
            order = self._orders.read_text("utf-8")
        if order == "instant":
            return np.full((len(batch), self.info.dimensions), 0.05, np.float32)
        return self._inner.forward(batch, share=share, cancellation=cancellation)


class HurtLoader(VersionLoader):
    """Loads as usual, and gives what it loads to be hurt."""

    orders: Path

    def __call__(self, *arguments: Any) -> tuple[Manifest, Any]:
        """See `VersionLoader`."""
        manifest, encoder = super().__call__(*arguments)
        return manifest, Hurt(encoder, self.orders)


if __name__ == "__main__":
    HurtLoader.orders = Path(sys.argv[1])
    app.VersionLoader = HurtLoader  # type: ignore[misc]  # the one place where models come into a server
    exit_process(main([]))
