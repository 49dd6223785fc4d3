"""Markdown that is right whatever the texts hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column is left-aligned, the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    lines = [header, rule, *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A value in a cell: figures with four digits, no line ends, no borders."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("\n", " ").replace("|", "\\|")
