"""A version's model as a folder on this machine, verified. Loading it as a model is left to the encoder.

A local registry's own folder is verified where it lies. A remote version is downloaded into the cache under a name made
of its files' hashes, so registries never mix there, and verified again each time it is asked for. Copies that nobody
uses go when another one comes; see `cache`.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from munjang.errors import ForbiddenFile, HashMismatch, IncompleteVersion, PathEscape
from munjang.registry.cache import KEPT, make_room, mark_used
from munjang.registry.layout import model_folder
from munjang.registry.local import LocalStorage
from munjang.registry.verify import check_listing, checked, verify_files

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from munjang.registry.layout import Manifest
    from munjang.registry.store import Registry
    from munjang.registry.verify import Progress

WAIT_SECONDS = 600.0
"""How long to wait for another process of this machine that downloads the same version."""

_log = logging.getLogger(__name__)


def fetch(
    registry: Registry,
    version: int,
    cache: Path,
    *,
    progress: Progress | None = None,
    most: int = KEPT,
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
        InvalidManifest, UnsupportedManifest: its manifest cannot be believed.
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
        make_room(copies, registry, most, loaded)
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
    mark_used(copies, name)
    try:
        verify_files(copies, name, manifest, progress)
    except (ForbiddenFile, HashMismatch, IncompleteVersion, PathEscape) as error:
        _log.warning("the cached copy of version %d is damaged and is fetched again: %s", manifest.version, error)
        return False
    return True


def _download(
    registry: Registry, manifest: Manifest, copies: LocalStorage, name: str, progress: Progress | None
) -> None:
    """Download under a hidden name, which the lock keeps for this process, and move the whole folder into its place."""
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
