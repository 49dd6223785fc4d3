"""The page of the zoo, docs/zoo.md: tries every model and writes what happened."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.kinds import ModelKind
from tests.zoo import configurations, decoders, encoders, refusals
from tests.zoo.checks import Row, try_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.zoo.checks import Outcome

PROCESSES = 2
"""How many try rows at the same time."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"

GROUPS = {
    "Encoders": encoders.ROWS,
    "Decoders": decoders.ROWS,
    "Poolings, modules and options": configurations.ROWS,
    "Other kinds of models, and folders that are refused": refusals.ROWS,
}

HEAD = """# Models that were tried

Each row is a tiny model of random weights, made by the classes of transformers and sentence-transformers, in the layout
of the real models that it is named after. Each was published and loaded as a server loads it, in float32 on a CPU, and
compared with `encode_query` and `encode_document` of sentence-transformers: alone and together, on Korean, mixed
scripts, emoji, decomposed Hangul, special tokens written out, a word of 308 letters, and texts at and over the limit.
The tests do this for every commit; `python -m tests.zoo` writes this page. Which real models are known by name is in
[Models](models.md).

- **runtime**: what computes the forward on a CPU. OpenVINO is the faster one, where the model can be converted.
- **packed**: whether short texts share rows, so that hardly any of a batch is padding.
- **packed: alone**: vectors of this architecture depend on the texts beside them, so each text runs by itself.
  That is slow.
- **cosine**: the least one to a vector of sentence-transformers; of a cross-encoder, how far scores are apart.
"""


def main(names: Sequence[str]) -> None:
    """Try the named rows and print them, or all and write the page."""
    wanted = [row for row in chain(*GROUPS.values()) if not names or row.name in names]
    found = dict(_tried(wanted))
    if not names:
        PAGE.write_text(page(found), "utf-8")


def page(found: dict[str, Outcome]) -> str:
    """The page, with what happened to each row."""
    return "\n".join([HEAD, *(_section(title, rows, found) for title, rows in GROUPS.items())])


def _tried(rows: Sequence[Row]) -> Iterator[tuple[str, Outcome]]:
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        outcomes = processes.map(try_named, [row.name for row in rows])
        yield from _printed(zip(rows, outcomes, strict=True))


def try_named(name: str) -> Outcome:
    """Try a row in a folder of its own."""
    row = next(row for row in chain(*GROUPS.values()) if row.name == name)
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        return try_row(row, Path(folder))


def _printed(found: Iterable[tuple[Row, Outcome]]) -> Iterator[tuple[str, Outcome]]:
    for row, outcome in found:
        sys.stdout.write(_line(row, outcome) + "\n")
        sys.stdout.flush()
        yield row.name, outcome


def _section(title: str, rows: Sequence[Row], found: dict[str, Outcome]) -> str:
    head = ["| model | like | runtime | packed | cosine, or the refusal |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([f"## {title}\n", *head, *(_line(row, found[row.name]) for row in rows), ""])


def _line(row: Row, outcome: Outcome) -> str:
    cells = [row.name, row.like, *_told(outcome)]
    return f"| {' | '.join(cells)} |"


def _told(outcome: Outcome) -> tuple[str, str, str]:
    if outcome.refused:
        words = outcome.refused.replace("|", r"\|")
        return "", "", f"refused: {' '.join(words.split())}"
    runtime = {"openvino": "OpenVINO", "torch": "torch"}[outcome.runtime]
    packed = "yes" if outcome.packed else "alone" if outcome.alone else "no"
    if outcome.kind is ModelKind.CROSS_ENCODER:
        return runtime, packed, f"scores within {outcome.difference:.6f}"
    return runtime, packed, f"{min(outcome.cosine, 1.0):.6f}"
