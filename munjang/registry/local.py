"""A registry in a folder: real atomic primitives, and everything on the disk before the next step builds on it.

A new file is written beside its place, synced, and then linked (exclusively) or renamed over the old one; its folder is
synced too. A kill leaves at most a hidden temporary file behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from munjang.errors import PathEscape, RegistryUnavailable
from munjang.registry.disk import file_info, link, make_folder, open_regular, sync_folder, walk, write_file
from munjang.registry.storage import CHUNK, LOCK_SECONDS, FileInfo, guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class LocalStorage:
    """Files below `root`, which need not exist yet."""

    local = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def children(self, folder: str) -> list[str]:
        """Names of the files and folders directly in a folder; none where there is no such folder."""
        with guarded(self.url, f"listing {folder}"):
            try:
                return sorted(entry.name for entry in self.path(folder).iterdir())
            except FileNotFoundError:
                return []

    def files(self, folder: str) -> dict[str, FileInfo]:
        """Every file below a folder, by its path relative to it. Links are named, never followed.

        Raises:
            PathEscape: the folder itself, or one above it, is a link.
        """
        with guarded(self.url, f"listing {folder}"):
            self._refuse_links(folder)
            return dict(walk(self.path(folder), ""))

    def marks(self, folder: str, name: str) -> dict[str, FileInfo]:
        """The file `name` of every direct sub-folder that has one, by sub-folder."""
        found = {}
        with guarded(self.url, f"listing {folder}"):
            for child in self.children(folder):
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[child] = file_info(self.path(f"{folder}/{child}/{name}").lstat())
        return found

    def read(self, path: str) -> bytes:
        """A whole small file. Raises FileNotFoundError where there is none."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes]:
        """A large file in pieces. Raises FileNotFoundError where there is none, ForbiddenFile for a link."""
        with guarded(self.url, f"reading {path}", FileNotFoundError), open_regular(self.path(path)) as file:
            while chunk := os.read(file, CHUNK):
                yield chunk

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file whole, only if there is none; whether it now holds `data`."""
        target = self.path(path)
        with guarded(self.url, f"creating {path}"):
            with self._temporary(target, data) as temporary:
                try:
                    link(temporary, target, data)
                except FileExistsError:
                    return self.read(path) == data
            sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write a small file; readers see the old or the new one, never a part."""
        target = self.path(path)
        with guarded(self.url, f"writing {path}"):
            with self._temporary(target, data) as temporary:
                temporary.replace(target)
            sync_folder(target.parent)

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a large file that nobody reads yet, durably."""
        target = self.path(path)
        with guarded(self.url, f"writing {path}"):
            make_folder(target.parent)
            write_file(target, chunks, os.O_TRUNC)
            sync_folder(target.parent)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens where there is none."""
        target = self.path(path)
        with guarded(self.url, f"removing {path}"), suppress(FileNotFoundError):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()
            sync_folder(target.parent)

    def move(self, path: str, target: str) -> None:
        """Give a folder its final name; what stood there is removed first."""
        self.remove(target)
        with guarded(self.url, f"writing {target}"):
            self.path(path).rename(self.path(target))
            sync_folder(self.path(target).parent)

    @contextmanager
    def lock(self, path: str, timeout: float = LOCK_SECONDS) -> Iterator[None]:
        """Keep other processes out of the same lock; the system frees it when its holder dies.

        Raises:
            RegistryUnavailable: it is not free within `timeout` seconds.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - readers never lock

        with guarded(self.url, f"locking {path}"):
            make_folder(self.path(path).parent)
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
        make_folder(target.parent)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            write_file(temporary, [data], os.O_EXCL)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
