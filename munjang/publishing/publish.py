"""Publishing a model: check its folder, stage what belongs to a version, complete and describe it, hand it over.

A folder of sentence-transformers is taken as it is. Pickled weights are converted, an adapter is merged into its base,
and what a plain transformer's folder does not say is filled in from the options or the catalogue.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from munjang.errors import RegistryError, UnsupportedDimensions, VersionNotFound
from munjang.kinds import ModelKind
from munjang.publishing.adapter import merge_adapter
from munjang.publishing.catalogue import find_entry
from munjang.publishing.configuration import Options, complete, complete_cross_encoder
from munjang.publishing.describe import describe
from munjang.publishing.kind import kind_of
from munjang.publishing.pickles import convert_pickled
from munjang.publishing.safety import check_code, check_fetched, check_finite, check_folder, check_pickled
from munjang.publishing.source import find_source
from munjang.publishing.staging import staged
from munjang.publishing.weights import check_weights
from munjang.registry.publish import model_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from munjang.publishing.catalogue import Entry
    from munjang.publishing.source import Source
    from munjang.registry.layout import Description, Manifest
    from munjang.registry.store import Registry

AS_IT_IS = Options()

SHOWN = 10
"""The most names of a list in a sentence."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lineage:
    """What only the publisher knows of a model.

    Attributes:
        base_model: what it was made from.
        recipe: how it was made.
        metrics: what it scores, by name.
        languages: what it is for.
        data_fingerprint: a hash of what it was made from.
        matryoshka_dimensions: the shorter lengths that it was trained for.
        libraries: versions of what made it, beside those that publishing itself records.
        provenance: what else is needed to make it again: seed, code version, machine.
    """

    base_model: str = ""
    recipe: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    languages: tuple[str, ...] = ("ko",)
    data_fingerprint: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


class Published(NamedTuple):
    """A version that holds a model: its manifest, and whether it was published now or had been before."""

    manifest: Manifest
    new: bool


def publish_model(
    registry: Registry,
    folder: Path,
    lineage: Lineage = Lineage(),
    *,
    options: Options = AS_IT_IS,
    tell: Callable[[str], None] = _log.info,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Publish a model folder as the next version; no alias moves, and the folder is not changed.

    Args:
        registry: where to.
        folder: the model: one of sentence-transformers, or a plain transformer if `options` name its pooling.
        lineage: what only the publisher knows.
        options: what the folder does not say.
        tell: told in a sentence what is done now, what was filled in, and what was left out.
        progress: told the bytes that were copied since it was last called.

    Raises:
        UnsupportedModel: the folder is no dense model, says its pooling nowhere, asks for code of its own, or makes
            another vector of a text each time.
        ForbiddenFile: its weights are pickled, and hold more than tensors.
        ModelLoadFailed: it cannot be loaded, lacks weights, or has or makes values that are not finite.
        UnsupportedDimensions: a Matryoshka length that the model does not have.
        PublishConflict, RegistryUnavailable: the registry could not take it.
    """
    return _publish(registry, folder, str(folder), lineage, options, None, tell, progress, reuse=False).manifest


def find_model(name: str, revision: str = "", *, tell: Callable[[str], None] = _log.info) -> Source:
    """The files of a model by its name, a folder or an id on the hub, at the catalogue's revision if none is named.

    Raises:
        ConfigurationError: there is no such folder, and no such model within reach.
    """
    entry = find_entry(name)
    return find_source(name, revision, usual_revision=entry.revision if entry else "", tell=tell)


def publish_source(
    registry: Registry,
    source: Source,
    lineage: Lineage = Lineage(),
    *,
    options: Options = AS_IT_IS,
    reuse: bool = False,
    tell: Callable[[str], None] = _log.info,
    progress: Callable[[int], None] | None = None,
) -> Published:
    """Publish what `find_model` found; `publish_model` says the rest.

    Args:
        registry: where to.
        source: the model. One of the hub is completed by the catalogue, if it is there.
        lineage: what only the publisher knows; the hub's id and commit are added.
        options: what its files do not say.
        reuse: take a version that holds these very files already, instead of publishing them once more.
        tell: told in a sentence what is done now, what was filled in, and what was left out.
        progress: told the bytes that were copied since it was last called.

    Raises:
        MunjangError: as `publish_model` does.
    """
    entry = find_entry(source.hub_id) if source.hub_id else None
    if source.hub_id:
        origin = {"hub": source.hub_id, "revision": source.revision}
        lineage = replace(
            lineage,
            base_model=lineage.base_model or source.hub_id,
            provenance={**origin, **lineage.provenance},
        )
    return _publish(registry, source.folder, source.name, lineage, options, entry, tell, progress, reuse=reuse)


def _publish(  # noqa: PLR0917 - one caller each for folders and for models by name
    registry: Registry,
    folder: Path,
    name: str,
    lineage: Lineage,
    options: Options,
    entry: Entry | None,
    tell: Callable[[str], None],
    progress: Callable[[int], None] | None,
    *,
    reuse: bool,
) -> Published:
    tell("checking the files")
    check_fetched(folder)
    check_pickled(folder, convertible=True)
    kind = kind_of(folder)
    check_code(folder)
    with staged(folder) as stage:
        converted = convert_pickled(folder, stage.folder, tell=tell)
        if left_out := [name for name in stage.left_out if name not in converted]:
            more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
            tell(f"left out: {', '.join(left_out[:SHOWN])}{more}")
        merge_adapter(stage.folder, tell=tell)
        if kind is ModelKind.DENSE:
            complete(stage.folder, name, options, entry, tell=tell)
        else:
            complete_cross_encoder(stage.folder, name, options)
        check_folder(stage.folder)
        check_finite(stage.folder)
        known = _same_files(registry, stage.folder) if reuse else None
        if known is not None:
            return Published(known, new=False)
        check_weights(stage.folder)
        tell("computing probe vectors and the int8 calibration")
        described = describe(stage.folder)
        if entry and entry.dimensions == described.dimensions and not lineage.matryoshka_dimensions:
            lineage = replace(lineage, matryoshka_dimensions=entry.matryoshka_dimensions)
        description = _complete(described, lineage)
        tell(_limit_told(description))
        if description.alone:
            tell("its vectors depend on the texts beside them: each text runs alone and in torch, which is slow")
        tell("copying to the registry")
        return Published(registry.publish(stage.folder, description, progress=progress), new=True)


def _same_files(registry: Registry, folder: Path) -> Manifest | None:
    """The newest version that holds the very files of a folder; None if there is none."""
    hashes = {}
    for name in model_files(folder):
        with (folder / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    for version in reversed(registry.versions()):
        try:
            manifest = registry.manifest(version)
        except (RegistryError, VersionNotFound):
            continue  # damaged, or removed meanwhile: not the one that is looked for
        if {entry.path: entry.sha256 for entry in manifest.files} == hashes:
            return manifest
    return None


def _limit_told(description: Description) -> str:
    named = ", ".join(f"{name} {limit}" for name, limit in description.token_limits.items())
    return f"of a text {description.max_tokens} tokens are read ({named or 'no file names a limit'})"


def _complete(description: Description, lineage: Lineage) -> Description:
    shorter = tuple(sorted(set(lineage.matryoshka_dimensions) - {description.dimensions}))
    if shorter and not 0 < shorter[0] <= shorter[-1] < description.dimensions:
        msg = f"Matryoshka lengths {shorter} do not fit a model of {description.dimensions} dimensions"
        raise UnsupportedDimensions(msg, field="matryoshka_dimensions")
    return description.model_copy(
        update={
            "base_model": lineage.base_model,
            "recipe": lineage.recipe,
            "metrics": dict(lineage.metrics),
            "languages": tuple(lineage.languages),
            "data_fingerprint": lineage.data_fingerprint,
            "matryoshka_dimensions": shorter,
            "libraries": {**lineage.libraries, **description.libraries},
            "provenance": dict(lineage.provenance),
        }
    )
