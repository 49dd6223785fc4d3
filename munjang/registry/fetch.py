"""A version's model as a folder on this machine, verified. The encoder loads it.

The files of a local registry are verified in place. A remote version is downloaded into the cache, under a name made
of its files' hashes, so registries never mix there. It is verified again at each use.

Before another copy is added, the least recently used ones are removed. Three kinds stay: copies that an alias of the
registry names or could roll back to, versions that the caller has loaded, and copies that any process of this machine
used within the last hour, because it may be loading them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from munjang.errors import ForbiddenFile, HashMismatch, IncompleteVersion, PathEscape, RegistryUnavailable
from munjang.registry.layout import model_folder
from munjang.registry.storage import LocalStorage
from munjang.registry.verify import check_listing, checked, verify_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from munjang.registry.layout import Manifest
    from munjang.registry.store import Registry
    from munjang.registry.verify import Progress

WAIT_SECONDS = 600.0
"""How long to wait for another process of this machine that downloads the same version."""

COPIES_KEPT: Final = 4
"""The default number of copies to keep."""

UNUSED_SECONDS: Final = 3600.0
"""A copy that was used more recently always stays: no load takes that long."""

_NAME: Final = re.compile(r"\.?([0-9]+)-[0-9a-f]{24}(\.partial)?")

_log = logging.getLogger(__name__)


def fetch(
    registry: Registry,
    version: int,
    cache: Path,
    *,
    progress: Progress | None = None,
    most: int = COPIES_KEPT,
    loaded: Collection[int] = (),
) -> Path:
    """Return a local folder with a version's model, every file of it read and found as published.

    Args:
        registry: where the version is.
        version: a committed version.
        cache: where copies of remote versions are kept; made if it is missing. Unused for a local registry.
        progress: told the bytes that were read.
        most: how many copies the cache may hold, those that must stay aside; see `make_room`.
        loaded: versions whose copies stay.

    Raises:
        VersionNotFound: no such version.
        InvalidManifest, UnsupportedManifest: its manifest is not valid.
        ForbiddenFile, PathEscape, IncompleteVersion, HashMismatch: its files are not what the manifest says.
        RegistryUnavailable: the registry cannot be read, or the cache cannot be written.
    """
    manifest = registry.manifest(version)
    folder = registry.local_folder(version)
    if folder is not None:
        verify_files(registry.storage, model_folder(version), manifest, progress)
        return folder
    copies = LocalStorage(cache.expanduser().absolute())
    name = _cache_name(manifest)
    if not _intact(copies, name, manifest, progress):
        _make_room(copies, registry, most, loaded)
        with copies.lock(f"{name}.lock", WAIT_SECONDS):
            if not _intact(copies, name, manifest, None):  # another process may have fetched it meanwhile
                _download(registry, manifest, copies, name, progress)
    return copies.path(name)


def _cache_name(manifest: Manifest) -> str:
    files = "\n".join(f"{entry.sha256} {entry.path}" for entry in manifest.files)
    return f"{manifest.version}-{hashlib.sha256(files.encode()).hexdigest()[:24]}"


def _intact(copies: LocalStorage, name: str, manifest: Manifest, progress: Progress | None) -> bool:
    if name not in copies.children("."):
        return False
    with suppress(OSError):  # a cache that others filled, and that this process may only read
        os.utime(copies.path(name))
    try:
        verify_files(copies, name, manifest, progress)
    except (ForbiddenFile, HashMismatch, IncompleteVersion, PathEscape) as error:
        _log.warning("the cached copy of version %d is damaged and is fetched again: %s", manifest.version, error)
        return False
    return True


def _download(
    registry: Registry, manifest: Manifest, copies: LocalStorage, name: str, progress: Progress | None
) -> None:
    """Download under a hidden name, which the lock reserves for this process, then move the whole folder into place."""
    remote, partial = model_folder(manifest.version), f".{name}.partial"
    check_listing(registry.storage.files(remote), manifest)
    copies.remove(partial)
    try:
        for entry in manifest.files:
            chunks = registry.storage.chunks(f"{remote}/{entry.path}")
            copies.write(f"{partial}/{entry.path}", checked(chunks, entry, manifest.version, progress))
        copies.move(partial, name)
    finally:
        copies.remove(partial)
    _log.info("fetched version %d of %s: %d bytes", manifest.version, registry.url, manifest.size_bytes)


def _make_room(copies: LocalStorage, registry: Registry, most: int, loaded: Collection[int]) -> None:
    """Remove copies until one more makes `most`, and what downloads that were killed left behind.

    The aliases of `registry` protect what they name; if one of them cannot be read, nothing is removed. Raises
    RegistryUnavailable where the aliases or the cache cannot be read.
    """
    found = {name: match for name in copies.children(".") if (match := _NAME.fullmatch(name))}
    whole = sorted((name for name in found if not name.startswith(".")), key=lambda name: _used(copies, name))
    spare = whole[: max(0, len(whole) + 1 - most)]
    left_behind = [name for name in found if name.startswith(".")]
    if not spare and not left_behind:
        return
    records, problems = registry.read_aliases()
    if problems:
        return
    kept = {*loaded, *(number for record in records.values() for number in (record.version, record.previous))}
    for name in (*spare, *left_behind):
        recent = time.time() - _used(copies, name) < UNUSED_SECONDS
        if not recent and (name in left_behind or int(found[name][1]) not in kept):
            _remove(copies, name)


def _used(copies: LocalStorage, name: str) -> float:
    """When a copy was used last, in seconds since the epoch; 0 if it is gone."""
    try:
        return copies.path(name).stat().st_mtime
    except OSError:
        return 0.0


def _remove(copies: LocalStorage, name: str) -> None:
    """Remove a copy, unless another process is downloading it."""
    whole = name.removeprefix(".").removesuffix(".partial")
    with suppress(RegistryUnavailable), copies.lock(f"{whole}.lock", 0):
        copies.remove(name)
        _log.info("removed %s from the cache: it was not used for longest", name)
