"""The doctor of an index: embeds rows again and tells which vectors are not what the table's layout says, and why.

A row is right if its vector has the direction that its text gets in the table's space, and the length that the layout
promises. For the others every way is tried that could have made the vector: the version's other prompts, and the other
versions. What none of them made is stale if the text's hash differs from the row's, else damaged.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from munjang.errors import ConfigurationError, InvalidRequest, TryLater, VersionNotFound, VersionNotReady
from munjang.index.embedding import embed_documents
from munjang.index.layout import TEXT_CHARS, Rows, agree, content_hash, text_hash, to_float
from munjang.vectors import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from munjang.index.embedding import Encodes
    from munjang.index.layout import Layout
    from munjang.index.tables import Tables
    from munjang.registry.layout import Manifest

BATCH = 512
SHOWN = 5
"""Ids that are listed of each cause."""

LEAST = {Precision.FLOAT32: 0.9995, Precision.FLOAT16: 0.9995, Precision.INT8: 0.999, Precision.UBINARY: 1.0}
"""The cosine from which two vectors are the same: runtimes and number formats of the forward differ a little."""

LENGTH = 0.01
"""How far the length of a normalised vector may be from 1."""

STALE = "the text changed after it was embedded"
DAMAGED = "damaged: no version of the registry makes this vector"
LONG = "not normalised"


class Versions(Protocol):
    """What the doctor needs of the registry; see `munjang.registry.Registry`."""

    def versions(self) -> list[int]:
        """All versions."""

    def manifest(self, version: int) -> Manifest:
        """A version's manifest."""


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        table: which.
        space_id: of its layout.
        rows: of the table.
        checked: of them.
        right: rows that are as the layout says.
        causes: how many of the others have each cause.
        examples: ids of some rows, by cause.
        rounded: rows of a float32 table whose vectors are exactly those of float16.
        repaired: rows that were embedded again.
        not_tried: versions that no server has loaded, and so may have made what counts as damaged.
    """

    table: str
    space_id: str
    rows: int
    checked: int = 0
    right: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    rounded: int = 0
    repaired: int = 0
    not_tried: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way in which a vector may have been made: a layout to ask with, and what to call it."""

    layout: Layout
    version: int
    cause: str


def check_index(
    tables: Tables,
    encoder: Encodes,
    registry: Versions,
    *,
    sample: int = 1000,
    repair: bool = False,
    progress: Callable[[CheckReport], None] = lambda _: None,
) -> CheckReport:
    """Check the current table of an index.

    Args:
        tables: the index.
        encoder: what embeds; versions that it has not loaded are not tried.
        registry: whose versions may have made the vectors.
        sample: how many rows, drawn at random; 0 is all of them.
        repair: embed the rows again that are not right, and no others.
        progress: called after every batch.

    Raises:
        IndexNotFound: there is no index.
        ConfigurationError: the table keeps no texts.
        MunjangError: the table's own version is not to be had, or the store does not answer.
    """
    table, layout = tables.current()
    if not layout.text_column:
        msg = "the index keeps no texts to embed again: load it from a job that carries its text column"
        raise ConfigurationError(msg, field="text_column")
    ids = [mark.id for piece in tables.sink.marks(table, layout) for mark in piece]
    report = CheckReport(table, layout.space_id, rows=len(ids))
    if sample and sample < len(ids):
        ids = random.Random().sample(ids, sample)  # noqa: S311 - a sample, no secret
    ways = list(_ways(layout, registry))
    for start in range(0, len(ids), BATCH):
        rows = tables.sink.fetch(table, layout, ids[start : start + BATCH])
        wrong = _diagnose(rows, layout, encoder, ways, report)
        if repair and wrong:
            _repair(tables, rows.take(sorted(wrong)), layout, encoder, report)
        progress(report)
    return report


def _ways(layout: Layout, registry: Versions) -> Iterator[_Way]:
    """The other ways in which a vector of these dimensions may have been made, the likeliest first."""
    manifests = [registry.manifest(version) for version in reversed(registry.versions())]
    own = [one for one in manifests if one.space_id == layout.space_id][:1]
    others = [one for one in manifests if one.space_id != layout.space_id and _fits(layout, one)]
    for manifest in own:
        yield from _prompted(layout, manifest, "")
    for manifest in others:
        asked = replace(layout, space_id=manifest.space_id, int8_scale=_scale(layout, manifest))
        made = f"made by version {manifest.version}"
        if layout.prompt_name in manifest.prompts or not layout.prompt_name:
            yield _Way(asked, manifest.version, made)
        yield from _prompted(asked, manifest, f"{made}, ")


def _prompted(layout: Layout, manifest: Manifest, before: str) -> Iterator[_Way]:
    """A version's ways to put a text to the model: without a prompt, and with each that it has."""
    yield _Way(replace(layout, role="", prompt_name="", prompt=""), manifest.version, f"{before}without a prompt")
    for name in sorted(manifest.prompts):
        asked = replace(layout, role="", prompt_name=name, prompt=None)
        yield _Way(asked, manifest.version, f"{before}with the prompt {name}")


def _fits(layout: Layout, manifest: Manifest) -> bool:
    dimensions = manifest.dimensions
    fits = dimensions >= layout.dimensions if layout.cut else dimensions == layout.dimensions
    return fits and (layout.precision is not Precision.INT8 or manifest.int8_scale > 0)


def _scale(layout: Layout, manifest: Manifest) -> float:
    return manifest.int8_scale if layout.precision is Precision.INT8 else 0.0


def _diagnose(rows: Rows, layout: Layout, encoder: Encodes, ways: list[_Way], report: CheckReport) -> dict[int, str]:
    """The places of the rows that are not right, with the cause of each; counted in the report."""
    texts = [text or "" for text in rows.columns[layout.text_column]]
    lengths = np.linalg.norm(to_float(rows.vectors, layout), axis=1)
    scaled = layout.normalized and layout.precision in {Precision.FLOAT32, Precision.FLOAT16}
    unequal = (np.abs(lengths - 1) > LENGTH) if scaled else np.zeros(len(rows), bool)
    causes: dict[int, str] = {}
    same = _made(rows, texts, list(range(len(rows))), layout, encoder)
    left = [place for place in range(len(rows)) if place not in same]
    causes |= {place: LONG for place in same if unequal[place]}
    for way in ways:
        if not left:
            break
        try:
            found = _made(rows, texts, left, way.layout, encoder)
        except (TryLater, VersionNotReady, VersionNotFound, InvalidRequest):
            report.not_tried.add(way.version)
            continue
        causes |= {place: f"{way.cause}, {LONG}" if unequal[place] else way.cause for place in found}
        left = [place for place in left if place not in found]
    for place in left:
        stale = rows.hashes[place][:TEXT_CHARS] != text_hash(texts[place])
        causes[place] = STALE if stale else DAMAGED
    _count(rows, layout, causes, report)
    return causes


def _made(rows: Rows, texts: list[str], places: list[int], layout: Layout, encoder: Encodes) -> set[int]:
    """Which of some rows have the direction that their texts get in this way."""
    found = embed_documents(encoder, [texts[place] for place in places], layout)
    chosen = [places[place] for place in found.places]
    same: NDArray[np.bool_] = agree(rows.vectors[chosen], found.vectors, layout, LEAST[layout.precision])
    return {place for place, right in zip(chosen, same, strict=True) if right}


def _count(rows: Rows, layout: Layout, causes: dict[int, str], report: CheckReport) -> None:
    report.checked += len(rows)
    report.right += len(rows) - len(causes)
    for place, cause in sorted(causes.items()):
        report.causes[cause] += 1
        examples = report.examples.setdefault(cause, [])
        if len(examples) < SHOWN:
            examples.append(rows.ids[place])
    if layout.precision is Precision.FLOAT32:
        report.rounded += int((rows.vectors == rows.vectors.astype(np.float16).astype(np.float32)).all(axis=1).sum())


def _repair(tables: Tables, rows: Rows, layout: Layout, encoder: Encodes, report: CheckReport) -> None:
    """Embed rows again; those whose texts fail stay as they are."""
    texts = [text or "" for text in rows.columns[layout.text_column]]
    found = embed_documents(encoder, texts, layout)
    good = rows.take(found.places)
    if not good.ids:
        return
    good.vectors, good.versions = found.vectors, [found.version] * len(good)
    values = zip(*(good.columns[name] for name in layout.column_names), strict=True)
    kept = [texts[place] for place in found.places]
    good.hashes = [content_hash(text, row) for text, row in zip(kept, values, strict=True)]
    tables.sink.upsert(report.table, layout, good)
    report.repaired += len(good)
