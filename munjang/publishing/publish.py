"""Publishing a sentence-transformers folder: check, leave out what does not belong, describe, hand to the registry.

What does not belong to a version: exports, checkpoints, optimizers, hidden files.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.errors import ForbiddenFile, PathEscape, UnsupportedDimensions
from munjang.publishing.describe import describe
from munjang.publishing.safety import check_finite, check_folder
from munjang.registry.layout import check_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from munjang.registry.layout import Description, Manifest
    from munjang.registry.store import Registry

LEFT_OUT_FOLDERS = ("onnx", "openvino", "checkpoint-*", "runs", "eval", "logs", "__pycache__", ".*")
"""Folders of other forms of the model, of training, and of tools."""

LEFT_OUT_FILES = ("trainer_state.json", "training_args.*", "optimizer*", "scheduler*", "rng_state*", "scaler.*")
"""Files that training leaves behind, among them some that the allow-list of the registry would let pass."""


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
        UnsupportedModel: the folder is no sentence-transformers model, asks for code of its own, or makes another vector
            of a text each time.
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
        tell(_limit_told(description))
        if description.alone:
            tell("its vectors depend on the texts beside them: each text runs alone and in torch, which is slow")
        tell("copying to the registry")
        return registry.publish(stage.folder, description, progress=progress)


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


@dataclass(frozen=True, slots=True)
class Staged:
    """A folder that is fit to be published, and what of the original is not in it (folders end with a slash)."""

    folder: Path
    left_out: tuple[str, ...]


@contextmanager
def staged(folder: Path) -> Iterator[Staged]:
    """Copy what may be published of a folder to a temporary one, which is removed at the end.

    Links to files, as a hub's cache has them, are followed; links to folders are left out.
    """
    with tempfile.TemporaryDirectory(prefix="munjang-publish-") as temporary:
        left_out = sorted(_copy(folder, Path(temporary), ""))
        yield Staged(Path(temporary), tuple(left_out))


def _copy(source: Path, target: Path, prefix: str) -> Iterator[str]:
    for path in sorted(source.iterdir()):
        name = prefix + path.name
        if path.is_dir():
            if path.is_symlink() or _matches(path, LEFT_OUT_FOLDERS):
                yield f"{name}/"
            else:
                yield from _copy(path, target / path.name, f"{name}/")
        elif _matches(path, LEFT_OUT_FILES) or not _is_data(name):
            yield name
        else:
            target.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, target / path.name)


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def _is_data(name: str) -> bool:
    try:
        check_path(name)
    except (ForbiddenFile, PathEscape):
        return False
    return True


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link costs nothing; across file systems it is a copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
