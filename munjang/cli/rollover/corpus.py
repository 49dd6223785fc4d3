"""What is searched: short Korean passages with a question to each, and sentences that answer none of them.

Written for munjang, free to use. Questions seldom share a word with their passages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Corpus:
    """Passages and questions; question `i` is answered by passage `i`, the further passages answer none."""

    questions: tuple[str, ...]
    passages: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the passages as JSON Lines, with their places as ids."""
        rows = ({"id": str(number), "text": text} for number, text in enumerate(self.passages))
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_corpus() -> Corpus:
    """The corpus that comes with the package."""
    text = files("munjang.cli.rollover").joinpath("questions.tsv").read_text(encoding="utf-8")
    pairs = [line.split("\t") for line in text.splitlines()[1:]]
    return Corpus(tuple(question for question, _ in pairs), (*(passage for _, passage in pairs), *SENTENCES))
