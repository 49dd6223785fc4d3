"""Whether a vector is that of its text alone. Publishing tries it on a few texts, in float32, before a version exists.

Servers and workers run the texts of many callers together, in any order. A vector must not show what lay beside its
text, nor what ran before it. For most models it does not. A model that mixes tokens with their padding, or keeps a
state between forwards, is found here. `describe` then has each text run alone, or refuses the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.encode import LONGEST_AT_LOAD, check_vector, longest_text
from munjang.encoder.postprocess import normalized
from munjang.korean import PROBES, SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Tokens

SHORT = (*PROBES[:2], *SENTENCES[1:9])
"""Texts of few tokens and of several lengths, some of which share a frame in every layout."""

LONGER = 0.75
"""The length of a longer text, as a share of the longest. It runs first and again at last, so a state is found that a
model takes from longer or from shorter texts."""

SAME = 0.9999
"""The least cosine between two vectors of one text."""


def find_dependence(encoder: Encoder) -> str:
    """Run texts by themselves, again, together and in another order; what differed, in words, or "" if nothing did.

    The encoder must not have run before. The texts are short ones, a longer one, and one of as many tokens as the model
    reads, or `LONGEST_AT_LOAD`.

    Raises:
        ModelLoadFailed: a vector is all zeros or not finite.
    """
    texts = [*SHORT, *_long_texts(encoder)]
    tokens = encoder.tokenize(texts)
    *shorter, longest = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
    expected = {number: _vectors(encoder, tokens, [number])[0] for number in (shorter[-1], longest, *shorter[:-1])}
    for number, vector in expected.items():
        check_vector(texts[number], vector)
    for how, numbers in (
        ("after other texts", shorter[-1:]),
        ("beside other texts", [*shorter, longest]),
        ("beside other texts in another order", shorter[-2::-1]),
    ):
        found = _vectors(encoder, tokens, numbers)
        cosines = np.vecdot(normalized(found), normalized(np.stack([expected[number] for number in numbers])))
        worst = int(np.argmin(cosines))
        if not cosines[worst] >= SAME:
            return f"the vector of {texts[numbers[worst]][:20]!r} is another one {how} (cosine {cosines[worst]:.4f})"
    return ""


def _vectors(encoder: Encoder, tokens: Sequence[Tokens], numbers: Sequence[int]) -> NDArray[np.float32]:
    return encoder.forward([tokens[number] for number in numbers])


def _long_texts(encoder: Encoder) -> tuple[str, str]:
    """A longer text, and one that is as long as the model reads, or as it is tried with at each load."""
    longest = longest_text(encoder, LONGEST_AT_LOAD)
    wanted = LONGER * len(encoder.tokenize([longest])[0])
    words = longest.split(" ")
    counts = np.cumsum([len(tokens) for tokens in encoder.tokenize(words)])
    few = int(np.searchsorted(counts, wanted)) + 1  # special tokens count too, so these are fewer than wanted
    return " ".join(words[:few]), longest
