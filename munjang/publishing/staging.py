"""The copy of a model folder that is published: what belongs to a version, in a temporary folder that can be completed.

What does not belong to a version: exports, checkpoints, optimizers, hidden files. Files of the copy may be hard links
to those of the folder, so they are replaced (`write_json`, `put`) and never changed in place.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from munjang.errors import ForbiddenFile, PathEscape
from munjang.registry.layout import check_path

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT_FOLDERS = ("onnx", "openvino", "checkpoint-*", "runs", "eval", "logs", "__pycache__", ".*")
"""Folders of other forms of the model, of training, and of tools."""

LEFT_OUT_FILES = ("trainer_state.json", "training_args.*", "optimizer*", "scheduler*", "rng_state*", "scaler.*")
"""Files that training leaves behind, among them some that the allow-list of the registry would let pass."""


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
            put(path, target / path.name)


def belongs(name: str) -> bool:
    """Whether a file of a repository, by its path there, is one that a version takes over as it is."""
    path = PurePosixPath(name)
    others = any(_matches(parent, LEFT_OUT_FOLDERS) for parent in path.parents if parent.name)
    return not others and not _matches(path, LEFT_OUT_FILES) and _is_data(name)


def write_json(path: Path, content: Any) -> None:
    """Put a file of JSON into a staged folder, in the place of one that may be a link to the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a file of JSON; None where there is no such file."""
    return json.loads(path.read_bytes()) if path.is_file() else None


def _matches(path: PurePath, patterns: tuple[str, ...]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def _is_data(name: str) -> bool:
    try:
        check_path(name)
    except (ForbiddenFile, PathEscape):
        return False
    return True


def put(source: Path, target: Path) -> None:
    """Put a file into a staged folder. A hard link costs nothing; across file systems it is a copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
