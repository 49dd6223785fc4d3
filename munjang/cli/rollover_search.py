"""The search of the rollover: passages and questions, an index per version, and whether the new version may take over.

The passages and questions were written for munjang and are free to use. Questions rarely share a word with their
passages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from munjang.bulk import MANIFEST
from munjang.errors import InvalidOption, JobError, MunjangError
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from munjang.client import Embeddings


NEAREST = (1, 5)
"""Recall is measured among these numbers of nearest passages; the last one decides."""

MARGIN = 0.1
"""How much lower the new version's recall may be: some sixty questions cannot show a smaller difference."""


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
    text = files("munjang.cli").joinpath("rollover_questions.tsv").read_text(encoding="utf-8")
    pairs = [line.split("\t") for line in text.splitlines()[1:]]
    return Corpus(tuple(question for question, _ in pairs), (*(passage for _, passage in pairs), *SENTENCES))


@dataclass(frozen=True, slots=True)
class Index:
    """The vectors of a corpus, float32 [n, d], normalised, in the order of its passages, and who made them."""

    version: int
    vectors: NDArray[np.float32]

    def recall(self, questions: Embeddings, k: int) -> float:
        """The share of questions whose own passage is among the `k` nearest.

        Raises:
            InvalidOption: another version made the questions' vectors.
        """
        if questions.version != self.version:
            msg = f"vectors of version {questions.version} cannot be searched for in an index of version {self.version}"
            raise InvalidOption(msg, field="version")
        return recall(self.vectors, questions.vectors, k)


def recall(passages: NDArray[np.float32], questions: NDArray[np.float32], k: int) -> float:
    """The share of questions [q, d] for which passage `i` of [n, d] is among the `k` nearest of question `i`.

    Does not check which version made them: `Index.recall` does.
    """
    nearest = np.argsort(-(questions @ passages.T), axis=1, kind="stable")[:, :k]
    return float((nearest == np.arange(len(questions))[:, None]).any(axis=1).mean())


def read_index(folder: Path) -> Index:
    """The index that a job wrote as NPY.

    Raises:
        JobError: a file or a row names another version than the manifest, or a row is missing or misplaced.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    version = manifest["version"]
    parts = sorted(folder.glob("part-*.npy"))
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    vectors = np.concatenate([np.load(part) for part in parts])
    made = {row["version"] for row in rows}
    if made != {version} or [row["id"] for row in rows] != [str(number) for number in range(len(vectors))]:
        msg = f"{folder} is not a whole index of version {version}: {len(rows)} rows by versions {sorted(made)}"
        raise JobError(msg)
    return Index(version, vectors)


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
