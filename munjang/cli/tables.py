"""Tables that fit the width of the terminal: columns of less weight are left out, and the table says which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDED = 16
"""Characters that a column needs which may fold its cells into several lines."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        rank: 0 for a column that stays; of the others the highest is left out first.
        right: numbers, which stand at the right.
        folds: a long cell may take several lines.
    """

    name: str
    rank: int = 0
    right: bool = False
    folds: bool = False

    def width(self, cells: Sequence[str]) -> int:
        """The least characters that it needs."""
        longest = max(
            cell_len(line) for cell in (self.name, *cells) for line in Text.from_markup(cell).plain.split("\n")
        )
        return min(longest, FOLDED) if self.folds else longest


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, title: str = "") -> Table:
    """A table of at most `width` characters, as far as the columns of rank 0 allow; cells are rich's markup."""
    needs = [column.width([row[index] for row in rows]) for index, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while 1 + sum(needs[index] + 3 for index in kept) > width:
        weakest = max(kept, key=lambda index: columns[index].rank)
        if columns[weakest].rank == 0:
            break
        kept.remove(weakest)
    hidden = [
        column.name for index, column in enumerate(columns) if index not in kept and any(row[index] for row in rows)
    ]
    table = Table(title=title or None, title_justify="left", caption_justify="left")
    if hidden:
        table.caption = f"not shown here: {', '.join(hidden)} (a wider terminal or --json shows them)"
    for index in kept:
        column = columns[index]
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.name, justify=justify, no_wrap=not column.folds, overflow="fold")
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table
