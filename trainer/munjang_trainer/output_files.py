"""Writes to disk: files completely or not at all, and only into folders that belong to the trainer.

A kill leaves no half-written file. A folder that the trainer fills, and in which it deletes what it no longer needs,
holds a marker file. The trainer claims an empty folder by writing the marker. So it never deletes or overwrites files
of others, nor takes them for its own.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

RUN_MARKER = ".munjang-run"
"""The marker file in the folder of a training run."""

DATA_MARKER = ".munjang-data"
"""The marker file in a folder of prepared data."""

NOBODYS = frozenset({"lost+found"})
"""What stands in a new file system."""


class FolderTaken(ConfigurationError):
    """A folder to write to holds what the trainer did not make."""


def claim_folder(folder: Path, marker: str) -> None:
    """Make a folder ours: one that is ours already, is missing, is empty, or holds folders of ours only.

    Raises:
        FolderTaken: it holds something else, or is no folder; nothing was changed.
    """
    if (folder / marker).is_file():
        return
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is not a folder: name another --output"
        raise FolderTaken(msg, field="output")
    found = sorted(path.name for path in folder.iterdir() if not _is_ours(path)) if folder.is_dir() else []
    if found:
        msg = (
            f"{folder} holds {found[0]!r}, which munjang did not make: name an empty or a new folder as --output (if an"
            f" older munjang made this one, put an empty file {marker} into it)"
        )
        raise FolderTaken(msg, field="output")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).touch()


def _is_ours(path: Path) -> bool:
    return path.name in NOBODYS or any((path / marker).is_file() for marker in (RUN_MARKER, DATA_MARKER))


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
