"""Publishes a sentence-transformers folder: check, leave out what does not belong, describe, hand to the registry."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.errors import UnsupportedDimensions
from munjang.publishing.describe import describe
from munjang.publishing.safety import check_finite, check_folder
from munjang.publishing.staging import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from munjang.registry.layout import Description, Manifest
    from munjang.registry.store import Registry

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


def publish_model(
    registry: Registry,
    folder: Path,
    lineage: Lineage = Lineage(),
    *,
    tell: Callable[[str], None] = _log.info,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Publish a sentence-transformers folder as the next version; no alias moves, and the folder is not changed.

    Args:
        registry: where to.
        folder: the model.
        lineage: what only the publisher knows.
        tell: told in a sentence what is done now, and what was left out.
        progress: told the bytes that were copied since it was last called.

    Raises:
        UnsupportedModel: the folder is no sentence-transformers model, or asks for code of its own.
        ForbiddenFile: its weights are pickled.
        ModelLoadFailed: it cannot be loaded, or has or makes values that are not finite.
        UnsupportedDimensions: a Matryoshka length that the model does not have.
        PublishConflict, RegistryUnavailable: the registry could not take it.
    """
    tell("checking the files")
    check_folder(folder)
    with staged(folder) as stage:
        if stage.left_out:
            tell(f"left out: {', '.join(stage.left_out)}")
        check_finite(stage.folder)
        tell("computing probe vectors and the int8 calibration")
        description = _complete(describe(stage.folder), lineage)
        tell("copying to the registry")
        return registry.publish(stage.folder, description, progress=progress)


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
