"""Whether the files of a version are what its manifest says: all of them, only them, byte for byte.

Works on any storage: on a version in the registry, and on a copy in a local cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from munjang.errors import ForbiddenFile, HashMismatch, IncompleteVersion
from munjang.registry.layout import check_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from munjang.registry.layout import FileEntry, Manifest
    from munjang.registry.storage import FileInfo, Storage

Progress = Callable[[int], None]
"""Gets the number of bytes that were read since its last call."""


def verify_files(storage: Storage, folder: str, manifest: Manifest, progress: Progress | None = None) -> None:
    """Read every file of a model folder and compare it with the manifest.

    Raises:
        ForbiddenFile: a link, or a file that the manifest does not name.
        PathEscape: the folder is a link.
        IncompleteVersion: a file is missing.
        HashMismatch: a file has another size or another sha256.
        RegistryUnavailable: the storage cannot be read.
    """
    check_listing(storage.files(folder), manifest)
    for entry in manifest.files:
        for _ in checked(storage.chunks(f"{folder}/{entry.path}"), entry, manifest.version, progress):
            pass


def check_listing(found: Mapping[str, FileInfo], manifest: Manifest) -> None:
    """Compare names and sizes, before anything is read.

    Raises:
        ForbiddenFile: a link, or a file that the manifest does not name.
        IncompleteVersion: a file is missing.
        HashMismatch: a file has another size.
    """
    of_version = f"of version {manifest.version}"
    named = {entry.path: entry for entry in manifest.files}
    for path, info in found.items():
        if not info.regular:
            msg = f"{path!r} {of_version} is a link or a device: only plain files are read"
            raise ForbiddenFile(msg)
        if path not in named:
            check_path(path)
            msg = f"{path!r} {of_version} is not in its manifest"
            raise ForbiddenFile(msg)
    for path, entry in named.items():
        if path not in found:
            msg = f"{path!r} {of_version} is missing"
            raise IncompleteVersion(msg)
        if found[path].size != entry.size:
            msg = f"{path!r} {of_version} has {found[path].size} bytes; its manifest says {entry.size}"
            raise HashMismatch(msg)


def checked(
    chunks: Iterable[bytes], entry: FileEntry, version: int, progress: Progress | None = None
) -> Iterator[bytes]:
    """Pass a file's bytes on; fail at its end, or as soon as it grows too long, if it is not what the manifest says.

    Raises:
        HashMismatch: another size or another sha256.
        IncompleteVersion: the file is missing.
    """
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            if size > entry.size:
                break
            if progress is not None:
                progress(len(chunk))
            yield chunk
    except FileNotFoundError as error:
        msg = f"{entry.path!r} of version {version} is missing"
        raise IncompleteVersion(msg) from error
    if size != entry.size:
        than = "more" if size > entry.size else "less"
        msg = f"{entry.path!r} of version {version} has {than} than the {entry.size} bytes that its manifest says"
        raise HashMismatch(msg)
    if digest.hexdigest() != entry.sha256:
        msg = f"{entry.path!r} of version {version} has sha256 {digest.hexdigest()}; its manifest says {entry.sha256}"
        raise HashMismatch(msg)
