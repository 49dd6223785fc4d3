"""Texts to vectors in one go, for those who have a whole list: tokenise, plan, forward, put back in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.sequence_packing import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Tokens

DEFAULT_BUDGET = 4096
"""Tokens of one forward, padding included, where nobody says otherwise."""


def encode(
    encoder: Encoder, texts: Sequence[str], *, prompt_name: str = "", budget: int = DEFAULT_BUDGET
) -> NDArray[np.float32]:
    """Raw vectors float32 [len(texts), dimensions], in the order of the texts."""
    return forward_all(encoder, encoder.tokenize(texts, prompt_name), budget=budget)


def forward_all(encoder: Encoder, tokens: Sequence[Tokens], *, budget: int = DEFAULT_BUDGET) -> NDArray[np.float32]:
    """Raw vectors float32 [len(tokens), dimensions] of tokenised texts, in their order."""
    rows = np.empty((len(tokens), encoder.info.dimensions), np.float32)
    for batch in plan([len(item) for item in tokens], budget, packs=encoder.packs):
        rows[batch] = encoder.forward([tokens[position] for position in batch])
    return rows
