"""Whether a new version may take over: the same questions searched in both indexes, and what mixing them would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from munjang.cli.rollover.search import recall
from munjang.errors import InvalidOption, MunjangError

if TYPE_CHECKING:
    from rich.console import Console

    from munjang.cli.rollover.search import Index
    from munjang.client import Embeddings

NEAREST = (1, 5)
"""Recall is measured among so many nearest passages; the last one decides."""

MARGIN = 0.1
"""How much lower the new version's recall may be: within it, sixty-odd questions tell no difference."""


def compare(out: Console, old: tuple[Index, Embeddings], new: tuple[Index, Embeddings]) -> None:
    """Measure the search with both versions, each an index and the questions' vectors by its version.

    Raises:
        MunjangError: the new version finds less, or an index took vectors of another version.
    """
    table = Table("questions by", "index by", *(f"recall@{k}" for k in NEAREST), box=None)
    for index, questions in (old, new):
        found = [f"{index.recall(questions, k):.3f}" for k in NEAREST]
        table.add_row(f"version {index.version}", f"version {index.version}", *found)
    mixed = [f"{recall(old[0].vectors, new[1].vectors, k):.3f}" for k in NEAREST]
    table.add_row(f"version {new[0].version}", f"version {old[0].version}", *mixed, style="dim")
    out.print(table)
    out.print(f"the last line is what mixing does, and what a search that knows versions refuses: {_refused(old, new)}")
    judge(*(index.recall(questions, NEAREST[-1]) for index, questions in (old, new)))


def judge(old: float, new: float) -> None:
    """Refuse to promote a version whose recall is lower than the old one's.

    Raises:
        MunjangError: it is, by more than MARGIN.
    """
    if new < old - MARGIN:
        msg = f"not promoted: the new version's recall@{NEAREST[-1]} is {new:.3f}, the old one's {old:.3f}"
        raise MunjangError(msg)


def _refused(old: tuple[Index, Embeddings], new: tuple[Index, Embeddings]) -> str:
    """How the old index refuses the new version's questions."""
    try:
        old[0].recall(new[1], NEAREST[-1])
    except InvalidOption as error:
        return str(error)
    msg = "an index was searched with vectors of another version"
    raise MunjangError(msg)
