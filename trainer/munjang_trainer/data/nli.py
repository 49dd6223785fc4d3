"""Inference pairs (KorNLI) to triples, by the recipe that ko-sroberta-nli was trained with.

Source of the recipe: github.com/jhgan00/ko-sentence-transformers, data_util.py; it follows sentence-transformers'
training_nli_v2.py. Every file by itself; each pair counts in both directions; every sentence that has at least one
entailment and at least one contradiction gives two triples, (sentence, e, c) and (e, sentence, c), each with its own
random picks.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from munjang_trainer.data.files import read_table
from munjang_trainer.data.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from munjang_trainer.data.files import Tally

LABELS = ("entailment", "neutral", "contradiction")


class Triple(NamedTuple):
    """An anchor, a text of like meaning, and one that contradicts."""

    anchor: str
    positive: str
    negative: str


class Inference(NamedTuple):
    """A premise, a hypothesis, and what holds between them."""

    premise: str
    hypothesis: str
    label: str


def read_nli(address: str, tally: Tally, *, keep_empty: bool = False) -> Iterator[Inference]:
    """The rows of a KorNLI file: `sentence1 sentence2 gold_label`, tab separated, one header line, no quoting."""
    for premise, hypothesis, label in read_table(address, ("sentence1", "sentence2", "gold_label"), tally):
        row = Inference(clean(premise), clean(hypothesis), label.strip())
        if row.label not in LABELS:
            tally.drop("unknown label")
        elif not keep_empty and not (row.premise and row.hypothesis):
            tally.drop("empty sentence")
        else:
            yield row


def make_triples(rows: Iterable[Inference], seed: int) -> list[Triple]:
    """The triples of one file, the same for the same rows and seed."""
    related: dict[str, dict[str, dict[str, None]]] = {}
    for premise, hypothesis, label in rows:
        for sentence, other in ((premise, hypothesis), (hypothesis, premise)):
            by_label = related.setdefault(sentence, {name: {} for name in LABELS})
            by_label[label][other] = None
    pick = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    triples: list[Triple] = []
    for sentence, by_label in related.items():
        entailed, contradicting = list(by_label["entailment"]), list(by_label["contradiction"])
        if entailed and contradicting:
            triples.append(Triple(sentence, pick.choice(entailed), pick.choice(contradicting)))
            triples.append(Triple(pick.choice(entailed), sentence, pick.choice(contradicting)))
    return triples
