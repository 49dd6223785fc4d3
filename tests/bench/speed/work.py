"""How much arithmetic an encoding takes, counted: 2 operations a multiply-add, padding left out. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """A BERT-like transformer: layers, width, width of the middle of its feed-forward."""

    layers: int
    width: int
    middle: int

    def operations(self, lengths: Iterable[int]) -> float:
        """Operations of one forward over texts of so many tokens, each attending to itself alone."""
        per_token = 2 * (4 * self.width**2 + 2 * self.width * self.middle)
        return float(self.layers * sum(length * (per_token + 4 * self.width * length) for length in lengths))

    def weight_bytes(self, bytes_per_weight: int) -> int:
        """Bytes of the layers' matrices, which a forward reads at least once; embeddings are looked up, not read."""
        return bytes_per_weight * self.layers * (4 * self.width**2 + 2 * self.width * self.middle)


def read_shape(folder: Path) -> Shape:
    """The shape of a model folder, from its config.json.

    Raises:
        KeyError: the configuration is not that of a BERT-like transformer.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Shape(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])
