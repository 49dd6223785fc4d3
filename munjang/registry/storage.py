"""What the registry asks of a place that keeps files, and which place a URL names.

Only what publishing and reading need: names, whole small files, streams of large ones, an exclusive create and an
atomic replace. `local` does it with system calls, `objects` with fsspec. Neither knows what a version is.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from munjang.errors import ConfigurationError, MunjangError, RegistryUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

CHUNK = 1 << 20
"""Bytes that are read or written at a time on a disk."""

LOCK_SECONDS = 30.0
"""How long to wait for another process that changes an alias; such a change takes milliseconds."""


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

    def children(self, folder: str) -> list[str]:
        """Names of the files and folders directly in a folder; none where there is no such folder."""

    def files(self, folder: str) -> dict[str, FileInfo]:
        """Every file below a folder, by its path relative to it. Links are named, never followed."""

    def marks(self, folder: str, name: str) -> dict[str, FileInfo]:
        """The file `name` of every direct sub-folder that has one, by sub-folder."""

    def read(self, path: str) -> bytes:
        """A whole small file. Raises FileNotFoundError where there is none."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """A large file in pieces. Raises FileNotFoundError where there is none."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file whole, only if there is none; whether it now holds `data`."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a small file; readers see the old or the new one, never a part."""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a large file that nobody reads yet, durably."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens where there is none."""

    def lock(self, path: str, timeout: float = LOCK_SECONDS) -> AbstractContextManager[object]:
        """Keep other processes out of the same lock where the storage can; elsewhere it does nothing.

        Raises RegistryUnavailable where the lock is not free within `timeout` seconds.
        """


def open_storage(url: str) -> Storage:
    """The storage that a path or URL names. Nothing is read or written yet.

    Raises:
        ConfigurationError: empty, or an fsspec protocol that is unknown or needs a package.
    """
    if not url.strip():
        msg = "the registry's address is empty: give a folder or an fsspec URL such as s3://bucket/models"
        raise ConfigurationError(msg, field="registry")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme in {"file", "local"}:
        from munjang.registry.local import LocalStorage  # noqa: PLC0415 - it imports this module

        return LocalStorage(Path(_path_of(url) if separator else url).expanduser().absolute())
    from munjang.registry.objects import ObjectStorage  # noqa: PLC0415 - fsspec is not paid for by local registries

    if not rest.strip("/"):
        msg = f"the registry {url!r} names no place within {scheme}: give {scheme}://bucket/folder"
        raise ConfigurationError(msg, field="registry")
    return ObjectStorage(url)


@contextmanager
def guarded(url: str, doing: str, *passing: type[Exception]) -> Iterator[None]:
    """Turn whatever a storage raises into RegistryUnavailable, but for the errors that the caller expects."""
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


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.netloc + parts.path)
