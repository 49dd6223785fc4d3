"""Writes the table of known models into docs/models.md from the catalogue (`make docs`).

`--check` only says whether it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.publishing.catalogue import catalogue
from tools.generated_page import with_table, write_or_check

if TYPE_CHECKING:
    from munjang.publishing.catalogue import Entry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
BEGIN = "<!-- Written by `make docs` from munjang/publishing/catalogue.yaml. -->\n"
END = "<!-- end of the catalogue -->\n"

COLUMNS = ("model", "dimensions", "tokens", "pooling", "prompts", "licence", "what it needs")


def row(entry: Entry) -> str:
    """A model as a row of the table."""
    kind = "" if entry.kind == "dense" else f"{entry.kind}"
    prompts = "<br>".join(f"{name} `{shown(text)}`" for name, text in entry.prompts.items() if text)
    cells = [
        f"`{entry.name}`" if entry.served else f"`{entry.name}` (refused)",
        f"{entry.dimensions:,}" if entry.dimensions else kind,
        f"{entry.max_tokens:,}" if entry.max_tokens else "",
        entry.pooling or "",
        prompts,
        entry.licence,
        entry.needs,
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def shown(text: str) -> str:
    """A prompt as one can read it in a table."""
    return text.replace("\n", "\\n")


def table() -> list[str]:
    """The lines of the table."""
    return [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|", *map(row, catalogue().values())]


def page(text: str) -> str:
    """The page with the table as it should be."""
    return with_table(text, BEGIN, END, table())


def main() -> int:
    """Write the page, or with `--check` return 1 where it is not current."""
    text = page(PAGE.read_text(encoding="utf-8"))
    return write_or_check(PAGE, text, "docs/models.md has another table than the catalogue")


if __name__ == "__main__":
    sys.exit(main())
