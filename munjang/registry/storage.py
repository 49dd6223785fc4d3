"""Where the registry keeps its files: what it needs of a storage, and the storage on a local disk.

Only what publishing and reading need: names, small files as a whole, large files as streams, an exclusive create and an
atomic replace. `object_storage` does the same behind fsspec. Neither knows what a version is.

On a disk, a new file is written beside its place, synced, and then linked (exclusively) or renamed over the old one;
its folder is synced too. A kill leaves at most a hidden temporary file behind.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from munjang.errors import ForbiddenFile, MunjangError, PathEscape, RegistryUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

CHUNK = 1 << 20
"""Bytes that are read or written at a time on a disk."""

LOCK_SECONDS = 30.0
"""How long to wait for another process that changes an alias; such a change takes milliseconds."""

_NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV}
"""How file systems say that they have no hard links."""

_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""How some network file systems say that a folder cannot be synced."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file as a listing shows it.

    Attributes:
        size: in bytes.
        modified: seconds since the epoch by the storage's own clock.
        stamp: differs if the file was written again, as far as the storage can tell.
        regular: False for a link, a device or a socket.
    """

    size: int
    modified: float
    stamp: str
    regular: bool = True


class Storage(Protocol):
    """A tree of files. Paths are relative with forward slashes; what cannot be reached raises RegistryUnavailable."""

    url: str
    """The place as messages name it, without passwords."""

    local: bool
    """Whether its files can be opened by path."""

    def exists(self) -> bool:
        """Whether the place is there, with files or without."""

    def children(self, folder: str) -> list[str]:
        """Names of the files and folders directly in a folder; none where there is no such folder."""

    def files(self, folder: str) -> dict[str, FileInfo]:
        """Every file below a folder, by its path relative to it. Links are named, never followed.

        Raises PathEscape where the folder itself, or one above it, is a link.
        """

    def marks(self, folder: str, name: str) -> dict[str, FileInfo]:
        """The file `name` of every direct sub-folder that has one, by sub-folder."""

    def read(self, path: str) -> bytes:
        """A whole small file. Raises FileNotFoundError where there is none."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """A large file in pieces. Raises FileNotFoundError where there is none, ForbiddenFile for a link."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file whole, only if there is none; whether it now holds `data`."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a small file; readers see the old or the new one, never a part."""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a large file that has no readers yet, durably."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with its content; nothing happens if there is none."""

    def lock(self, path: str, timeout: float = LOCK_SECONDS) -> AbstractContextManager[object]:
        """Keep other processes out of the same lock if the storage has locks; otherwise do nothing.

        Raises RegistryUnavailable where the lock is not free within `timeout` seconds.
        """


@contextmanager
def guarded(url: str, doing: str, *passing: type[Exception]) -> Iterator[None]:
    """Turn every error of a storage into RegistryUnavailable, except those that the caller expects."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (*passing, MunjangError)):
            raise
        msg = f"{doing} failed in {url}: {str(error) or type(error).__name__}"
        raise RegistryUnavailable(msg) from error


def without_password(url: str) -> str:
    """A URL that may be shown: user and password are left out."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


class LocalStorage:
    """Files below `root`, which need not exist yet."""

    local = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def exists(self) -> bool:
        return self.root.is_dir()

    def children(self, folder: str) -> list[str]:
        with guarded(self.url, f"listing {folder}"):
            try:
                return sorted(entry.name for entry in self.path(folder).iterdir())
            except FileNotFoundError:
                return []

    def files(self, folder: str) -> dict[str, FileInfo]:
        with guarded(self.url, f"listing {folder}"):
            self._refuse_links(folder)
            return dict(_walk(self.path(folder), ""))

    def marks(self, folder: str, name: str) -> dict[str, FileInfo]:
        found = {}
        with guarded(self.url, f"listing {folder}"):
            for child in self.children(folder):
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[child] = _file_info(self.path(f"{folder}/{child}/{name}").lstat())
        return found

    def read(self, path: str) -> bytes:
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        with guarded(self.url, f"reading {path}", FileNotFoundError), open_regular(self.path(path)) as file:
            while chunk := os.read(file, CHUNK):
                yield chunk

    def create(self, path: str, data: bytes) -> bool:
        target = self.path(path)
        with guarded(self.url, f"creating {path}"):
            with self._temporary(target, data) as temporary:
                try:
                    _link(temporary, target, data)
                except FileExistsError:
                    return self.read(path) == data
            _sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes) -> None:
        target = self.path(path)
        with guarded(self.url, f"writing {path}"):
            with self._temporary(target, data) as temporary:
                temporary.replace(target)
            _sync_folder(target.parent)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        target = self.path(path)
        with guarded(self.url, f"writing {path}"):
            _make_folder(target.parent)
            _write_file(target, chunks, os.O_TRUNC)
            _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        target = self.path(path)
        with guarded(self.url, f"removing {path}"), suppress(FileNotFoundError):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()
            _sync_folder(target.parent)

    def move(self, path: str, target: str) -> None:
        """Give a folder its final name; what was there is removed first."""
        self.remove(target)
        with guarded(self.url, f"writing {target}"):
            self.path(path).rename(self.path(target))
            _sync_folder(self.path(target).parent)

    @contextmanager
    def lock(self, path: str, timeout: float = LOCK_SECONDS) -> Iterator[None]:
        from filelock import FileLock, Timeout  # noqa: PLC0415 - readers never lock

        with guarded(self.url, f"locking {path}"):
            _make_folder(self.path(path).parent)
            lock = FileLock(self.path(path), timeout=timeout, mode=0o666)
            try:
                lock.acquire()
            except Timeout as error:
                msg = f"another process has held {self.path(path)} for {timeout:.0f} s"
                raise RegistryUnavailable(msg) from error
        try:
            yield
        finally:
            lock.release()

    def path(self, path: str) -> Path:
        """Where a file or folder lies.

        Raises:
            PathEscape: the path leaves the root.
        """
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            msg = f"{path!r} leaves the registry {self.url}"
            raise PathEscape(msg)
        return self.root / pure

    def _refuse_links(self, folder: str) -> None:
        pure = PurePosixPath(folder)
        for part in (pure, *pure.parents):
            if str(part) != "." and self.path(str(part)).is_symlink():
                msg = f"{part} of the registry {self.url} is a link: it may lead anywhere"
                raise PathEscape(msg)

    @contextmanager
    def _temporary(self, target: Path, data: bytes) -> Iterator[Path]:
        _make_folder(target.parent)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            _write_file(temporary, [data], os.O_EXCL)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


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


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, FileInfo]]:
    """Every file below a folder, with `prefix` before its relative path; links are named and not followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            with suppress(FileNotFoundError):
                yield prefix + entry.name, _file_info(entry.stat(follow_symlinks=False))


def _file_info(status: os.stat_result) -> FileInfo:
    """What a listing shows of a file."""
    stamp = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
    return FileInfo(status.st_size, status.st_mtime, stamp, stat.S_ISREG(status.st_mode))


def _link(temporary: Path, target: Path, data: bytes) -> None:
    """Give a finished file its name, if the name is free. Raises FileExistsError if it is not."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _write_file(target, [data], os.O_EXCL)  # no links on this file system: still exclusive, but not whole at once


def _write_file(path: Path, chunks: Iterable[bytes], flag: int) -> None:
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


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on the disk before the next."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(file)
