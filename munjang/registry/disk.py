"""Plain files on a disk: reading without following links, writing that survives a power cut. Knows no registry."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from munjang.errors import ForbiddenFile
from munjang.registry.storage import FileInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV}
"""How file systems say that they have no hard links."""

_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""How some network file systems say that a folder cannot be synced."""


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A file descriptor to read a plain file with; a link, a pipe or a device is refused.

    Raises:
        ForbiddenFile: it is not a plain file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        msg = f"{path} is a link: only plain files are read"
        raise ForbiddenFile(msg) from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            msg = f"{path} is not a plain file"
            raise ForbiddenFile(msg)
        yield file
    finally:
        os.close(file)


def walk(folder: Path, prefix: str) -> Iterator[tuple[str, FileInfo]]:
    """Every file below a folder, with `prefix` before its relative path; links are named and not followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            with suppress(FileNotFoundError):
                yield prefix + entry.name, file_info(entry.stat(follow_symlinks=False))


def file_info(status: os.stat_result) -> FileInfo:
    """What a listing shows of a file."""
    stamp = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
    return FileInfo(status.st_size, status.st_mtime, stamp, stat.S_ISREG(status.st_mode))


def link(temporary: Path, target: Path, data: bytes) -> None:
    """Give a finished file its name, if nothing has it yet. Raises FileExistsError where something has."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_file(target, [data], os.O_EXCL)  # no links on this file system: still exclusive, but not whole at once


def write_file(path: Path, chunks: Iterable[bytes], flag: int) -> None:
    """Write a file and wait until it is on the disk; `flag` is O_EXCL or O_TRUNC."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, 0o666)
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on the disk before the next."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(file)
