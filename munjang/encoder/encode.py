"""Texts to vectors in one go, for those who have a whole list: tokenise, plan, forward, put back in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.model_rules import UNLIMITED_TOKENS
from munjang.encoder.sequence_packing import plan
from munjang.errors import ModelLoadFailed
from munjang.korean import PARAGRAPH, SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Prompting, Tokens

DEFAULT_BUDGET = 4096
"""Tokens of one forward, padding included, where nobody says otherwise."""

LONGEST = 8192
"""Tokens of the longest text that a model is tried with when it is published: one of more takes hours on a CPU."""

LONGEST_AT_LOAD = 1024
"""The same at each load, where a minute of a large model's forward would be a minute of every start and swap."""


def encode(
    encoder: Encoder, texts: Sequence[str], how: Prompting | None = None, *, budget: int = DEFAULT_BUDGET
) -> NDArray[np.float32]:
    """Raw vectors float32 [len(texts), dimensions], in the order of the texts; `how` as in `Encoder.tokenize`."""
    return forward_all(encoder, encoder.tokenize(texts, how), budget=budget)


def forward_all(encoder: Encoder, tokens: Sequence[Tokens], *, budget: int = DEFAULT_BUDGET) -> NDArray[np.float32]:
    """Raw vectors float32 [len(tokens), dimensions] of tokenised texts, in their order."""
    rows = np.empty((len(tokens), encoder.info.dimensions), np.float32)
    for batch in plan([len(item) for item in tokens], budget, packs=encoder.packs):
        rows[batch] = encoder.forward([tokens[position] for position in batch])
    return rows


def longest_text(encoder: Encoder, bound: int = LONGEST) -> str:
    """Korean sentences of as many tokens as the model reads, or of `bound` if that is less."""
    length, most = len(encoder.tokenize([PARAGRAPH])[0]), encoder.info.max_tokens
    if most >= UNLIMITED_TOKENS:  # no length is a strain for it
        return PARAGRAPH
    return " ".join([PARAGRAPH] * -(-min(most, bound) // length))


def longest_pair(encoder: Encoder, bound: int = LONGEST) -> tuple[str, str]:
    """A query and a document that together fill a cross-encoder, or have `bound` tokens if that is less."""
    return SENTENCES[0], longest_text(encoder, bound)


def check_score(pair: tuple[str, str], score: NDArray[np.float32]) -> None:
    """Refuse a raw score float32 [1] that no other can be compared with.

    Raises:
        ModelLoadFailed: it is not finite.
    """
    if not np.isfinite(score).all():
        msg = f"the cross-encoder gives scores that are not finite (NaN or infinity), of {pair[1][:20]!r} for one"
        raise ModelLoadFailed(msg)


def check_vector(text: str, vector: NDArray[np.float32]) -> None:
    """Refuse a raw vector float32 [d] that no other can be compared with.

    Raises:
        ModelLoadFailed: it is not finite, or all zeros.
    """
    finite = bool(np.isfinite(vector).all())
    if not finite or not vector.any():
        what = "all zeros" if finite else "not finite (NaN or infinity)"
        msg = f"the model makes vectors that are {what}, of {text[:20]!r} ({len(text)} characters) for one"
        raise ModelLoadFailed(msg)
