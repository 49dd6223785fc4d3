"""Writes to disk: files completely or not at all, and only into folders that belong to the trainer.

A kill leaves no half-written file. A folder that the trainer fills, and in which it deletes what it no longer needs,
holds a marker file. The trainer claims an empty folder by writing the marker. So it never deletes or overwrites files
of others, nor takes them for its own.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from munjang.output_file import claim_folder

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "model"
"""The folder of a run, and of each of its stages, that holds the finished model."""

RUN_MARKER = ".munjang-run"
"""The marker file in the folder of a training run."""

DATA_MARKER = ".munjang-data"
"""The marker file in a folder of prepared data."""


def claim_output(folder: Path, marker: str) -> None:
    """Make the folder of --output ours: one that is missing, empty, ours already, or that holds folders of ours only.

    Raises:
        FolderTaken: it holds something else, or is no folder; nothing was changed.
    """
    claim_folder(folder, marker, option="--output", is_ours=_is_ours)


def _is_ours(path: Path) -> bool:
    return any((path / marker).is_file() for marker in (RUN_MARKER, DATA_MARKER))


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text under another name, flush it to the disk, and rename it.

    A link stays, and the file that it names is replaced; a device or a pipe is written into.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def folder_sha256(folder: Path) -> str:
    """One hash over the names and contents of all files of a folder: hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + content)
    return digest.hexdigest()
