"""What a load is made of: texts in a fixed random order, dealt out in batches without end."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POOL = 2000
"""So many built-in texts are made."""

LONG_CHARS = 1500
"""About what fills a model of 512 tokens with Korean."""


def built_in(long_share: float, seed: int) -> list[str]:
    """Korean texts of mixed lengths: sentences, and a share of texts as long as models read.

    Raises:
        ConfigurationError: the share is not between 0 and 1.
    """
    if not 0 <= long_share <= 1:
        msg = f"the share of long texts is {long_share:g}; it must be between 0 and 1"
        raise ConfigurationError(msg, field="long_share")
    chance = random.Random(seed)  # noqa: S311 - the same texts for the same seed
    longs = round(POOL * long_share)
    texts = [chance.choice(SENTENCES) for _ in range(POOL - longs)] + [_long(chance) for _ in range(longs)]
    chance.shuffle(texts)
    return texts


def batches(texts: Sequence[str], size: int, seed: int) -> Iterator[list[str]]:
    """Batches of `size` texts, round and round in a shuffled order."""
    order = list(texts)
    random.Random(seed).shuffle(order)  # noqa: S311 - the same order for the same seed
    endless = itertools.cycle(order)
    while True:
        yield list(itertools.islice(endless, size))


def _long(chance: random.Random) -> str:
    text = chance.choice(SENTENCES)
    while len(text) < LONG_CHARS:
        text += " " + chance.choice(SENTENCES)
    return text
