"""Texts of like meaning: groups of paraphrases (paraKQC), and tables of pairs."""

from __future__ import annotations

import random
from itertools import combinations, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from munjang_trainer.data.files import read_lines, read_table
from munjang_trainer.data.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from munjang_trainer.data.files import Tally
    from munjang_trainer.recipe.data import GroupsSource, PairsSource


class Paraphrase(NamedTuple):
    """Two texts of like meaning and their group; texts of one group are never each other's negatives."""

    anchor: str
    positive: str
    group: str


class Group(NamedTuple):
    """Texts that all mean the same."""

    name: str
    texts: tuple[str, ...]


def read_groups(address: str, source: GroupsSource, tally: Tally) -> Iterator[Group]:
    """The groups of one file; empty and repeated texts are dropped, and a group that then has fewer than two."""
    lines = (line for line in read_lines(address) if line)
    number = 0
    while chunk := list(islice(lines, source.group_size)):
        tally.read += len(chunk)
        texts: dict[str, None] = {}
        for line in chunk:
            cells = line.split("\t")
            text = clean(cells[source.text_column]) if source.text_column < len(cells) else ""
            if not text:
                tally.drop("no text in that column")
            elif text in texts:
                tally.drop("repeated in its group")
            else:
                texts[text] = None
        if len(texts) > 1:
            yield Group(_name(address, number), tuple(texts))
        elif texts:
            tally.drop("alone in its group")
        number += 1


def make_pairs(groups: Iterable[Group], pairs_per_group: int, seed: int) -> list[Paraphrase]:
    """Pairs of each group, the same for the same seed.

    The texts of a group are shuffled into a ring; first each is paired with its neighbour, then with the one after
    that, and so on, so that every text is used as often as any other.
    """
    shuffle = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    pairs: list[Paraphrase] = []
    for group in groups:
        texts = list(group.texts)
        shuffle.shuffle(texts)
        ring = sorted(combinations(range(len(texts)), 2), key=lambda ends: _distance(ends, len(texts)))
        pairs.extend(Paraphrase(texts[i], texts[j], group.name) for i, j in ring[:pairs_per_group])
    return pairs


def _name(address: str, number: int) -> str:
    return f"{PurePosixPath(address).name}:{number}"


def _distance(ends: tuple[int, int], size: int) -> int:
    return min(ends[1] - ends[0], size - (ends[1] - ends[0]))


def read_pairs(address: str, source: PairsSource, tally: Tally) -> Iterator[Paraphrase]:
    """The pairs of one file; empty texts, pairs of twice the same text and pairs with another label are dropped."""
    columns = (*source.columns, *([source.label] if source.label else []))
    for number, (first, second, *label) in enumerate(read_table(address, columns, tally)):
        anchor, positive = clean(first), clean(second)
        if label and label[0].strip() != source.same:
            tally.drop("not alike by its label")
        elif not (anchor and positive):
            tally.drop("empty text")
        elif anchor == positive:
            tally.drop("twice the same text")
        else:
            yield Paraphrase(anchor, positive, _name(address, number))
