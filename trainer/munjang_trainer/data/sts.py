"""Sentence pairs with a score: KorSTS, KLUE-STS, or any table with such columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from munjang_trainer.data.files import read_records, read_table
from munjang_trainer.data.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang_trainer.data.files import Tally
    from munjang_trainer.recipe.data import StsSource


class Scored(NamedTuple):
    """Two sentences and how alike they are, 0 to 1."""

    sentence1: str
    sentence2: str
    score: float


def read_sts(address: str, source: StsSource, tally: Tally) -> Iterator[Scored]:
    """The rows of one file; a row with an empty sentence, or without a score from 0 to `max_score`, is dropped."""
    rows = _klue(address, tally) if ".json" in address else read_table(address, source.columns, tally)
    for first, second, written in rows:
        row = Scored(clean(first), clean(second), _number(written) / source.max_score)
        if not (row.sentence1 and row.sentence2):
            tally.drop("empty sentence")
        elif not 0 <= row.score <= 1:
            tally.drop("no score, or one out of range")
        else:
            yield row


def _klue(address: str, tally: Tally) -> Iterator[tuple[str, str, str]]:
    for record in read_records(address):
        tally.read += 1
        yield record["sentence1"], record["sentence2"], str(record["labels"]["label"])


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan
