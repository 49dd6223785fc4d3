"""What the writers of generated pages share: a table between two marks, and writing a page or checking it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def with_table(text: str, begin: str, end: str, lines: list[str]) -> str:
    """A page with these lines between its two marks, in place of what stood there."""
    before, rest = text.split(begin)
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1]


def write_or_check(page: Path, text: str, stale: str) -> int:
    """Write the page; with `--check` on the command line, say `stale` and return 1 where it holds another text."""
    if "--check" in sys.argv[1:]:
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{stale}: run `make docs`\n")
            return 1
        return 0
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return 0
