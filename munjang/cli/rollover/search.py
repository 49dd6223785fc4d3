"""An index of one version, as a bulk job wrote it, and how often a search in it finds the right passage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from munjang.bulk import MANIFEST
from munjang.errors import InvalidOption, JobError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from munjang.client import Embeddings


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

    Whose vectors they are is not asked: `Index.recall` does.
    """
    nearest = np.argsort(-(questions @ passages.T), axis=1, kind="stable")[:, :k]
    return float((nearest == np.arange(len(questions))[:, None]).any(axis=1).mean())


def read_index(folder: Path) -> Index:
    """The index that a job wrote as NPY.

    Raises:
        JobError: a file or a row names another version than the manifest, or a row is missing or out of its place.
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
