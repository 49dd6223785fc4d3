"""Makes up documents to search out of pairs of like texts: a needle among texts that have nothing to do with it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from munjang_trainer.data.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_trainer.recipe.schema import DocumentsSource

ALIKE = 0.8
"""A scored pair with this score or more is a query and its needle."""


def make_documents(tables: Sequence[Table], source: DocumentsSource, seed: int) -> Table:
    """Triplets (query, document, document without the needle), the same for the same rows and seed.

    Each table gives as many needles as the others, so that a large one does not decide; and as many of the other texts.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    pairs = [found for table in tables if (found := _pairs(table))]
    texts = [list(dict.fromkeys(table.texts())) for table in tables if table.rows]
    rows: list[tuple[str, str, str]] = []
    for _ in range(source.rows if pairs else 0):
        query, needle = draw.choice(draw.choice(pairs))
        others = [draw.choice(draw.choice(texts)) for _ in range(draw.randint(*source.sentences) - 1)]
        place = draw.randint(0, len(others))
        document, without = (
            " ".join([*others[:place], text, *others[place:]]) for text in (needle, draw.choice(draw.choice(texts)))
        )
        if needle not in others and document != without:
            rows.append((query, document, without))
    return Table("triplets", list(rows))


def _pairs(table: Table) -> list[tuple[str, str]]:
    if table.kind == "sts":
        return [(first, second) for first, second, score in table.rows if score >= ALIKE and first != second]
    return [(row[0], row[1]) for row in table.rows]
