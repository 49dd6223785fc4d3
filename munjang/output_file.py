"""Files that are written as a whole or not at all, and folders that are filled only where they are ours.

What is no regular file, such as a FIFO or a device, is written into. A folder of ours has a marker in it.
"""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODYS = frozenset({"lost+found"})
"""What stands in a new file system."""


class FolderTaken(ConfigurationError):
    """A folder to write to holds what munjang did not make."""


@contextmanager
def output_file(path: Path, *, permissions: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file whose content becomes that of `path` when the block ends without an error.

    Links are followed and stay. An existing file keeps its permissions, and its owner where that is allowed; a new one
    gets `permissions`, less the umask. FIFOs, devices and sockets are never replaced: what is written goes into them
    at once.

    Raises:
        OSError: it cannot be written.
    """
    found = _status(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        with path.open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".munjang-{uuid.uuid4().hex}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if found is not None:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    """What is behind the path and its links; None if nothing is."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def claim_folder(folder: Path, marker: str, *, option: str, is_ours: Callable[[Path], bool]) -> None:
    """Make a folder ours: one that is ours already, is missing, is empty, or holds nothing but what is ours.

    Args:
        folder: the folder.
        marker: the name of the file that says whose it is.
        option: the option that names the folder, for messages.
        is_ours: whether something in a folder without a marker is ours nevertheless.

    Raises:
        FolderTaken: it holds something else, or is no folder; nothing was changed.
        OSError: it cannot be made.
    """
    if (folder / marker).is_file():
        return
    field = option.removeprefix("--")
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is not a folder: name another {option}"
        raise FolderTaken(msg, field=field)
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    others = [path.name for path in there if path.name not in NOBODYS and not is_ours(path)]
    if others:
        msg = (
            f"{folder} holds {others[0]!r}, which munjang did not make: name an empty or a new folder as {option} (if"
            f" an older munjang made this one, put an empty file {marker} into it)"
        )
        raise FolderTaken(msg, field=field)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).touch()
