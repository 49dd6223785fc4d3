"""Publishing a model folder as the next version: check, claim a number, copy and hash, commit, clean up.

A publisher claims a number by creating `versions/<n>/claim.json` exclusively. `manifest.json`, created exclusively too,
decides later: its publisher writes it as the commit mark. If the claim has shown no life for a whole lease, another
publisher writes it as the mark RETIRED. Only one of the two can succeed, so a publisher that wakes up late cannot
commit a version whose files were removed. A number is never reused, and a dead publisher does not block the next one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from munjang.errors import ForbiddenFile, IncompleteVersion, InvalidManifest, PublishConflict, RegistryUnavailable
from munjang.registry.identity import ensure_identity
from munjang.registry.layout import (
    ALIASES,
    MANIFEST,
    RETIRED,
    VERSIONS,
    Description,
    FileEntry,
    Manifest,
    check_path,
    explain,
    manifest_path,
    model_folder,
    number_of,
    parse_manifest,
    version_folder,
)
from munjang.registry.space import configuration_digest, is_configuration, space_of
from munjang.registry.storage import CHUNK, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from munjang.registry.storage import FileInfo, Storage
    from munjang.registry.verify import Progress

LEASE_SECONDS = 3600.0
"""A publisher that has written nothing for this long counts as dead."""

RENEW_SECONDS = 30.0
"""How often a living publisher renews its claim; far below the lease."""

ATTEMPTS = 100
"""How many numbers in a row other publishers may claim first."""

_CLAIM = "claim.json"
_TEMPORARY = re.compile(r"\.[^/]+\.json\.[0-9a-f]+\.tmp")
_log = logging.getLogger(__name__)


def publish(
    storage: Storage, folder: Path, description: Description, lease_seconds: float, progress: Progress | None = None
) -> Manifest:
    """Publish a folder as the next version; until the last step no reader sees anything of it."""
    paths = model_files(folder)
    _check(description)
    ensure_identity(storage)
    claimed = claim(storage)
    try:
        entries = tuple(_upload(storage, claimed, folder, path, progress) for path in paths)
        manifest, data = _manifest_bytes(description, claimed.version, entries, _space(folder, description, entries))
        claimed.commit(data)
    except BaseException:
        with suppress(RegistryUnavailable):
            claimed.abandon()
        raise
    _log.info("published version %d: %d files, %d bytes", manifest.version, len(entries), manifest.size_bytes)
    sweep(storage, manifest.version, lease_seconds)
    return manifest


def model_files(folder: Path) -> list[str]:
    """The files of a model folder by relative path, sorted, if it may be published.

    Raises:
        ForbiddenFile: a link, a device, or a file that is not on the allow-list.
        PathEscape: a name that cannot be a plain relative path.
        IncompleteVersion: there is no such folder, or it is empty.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder"
        raise IncompleteVersion(msg)
    paths = sorted(_walk(folder, ""))
    if not paths:
        msg = f"{folder} is empty"
        raise IncompleteVersion(msg)
    return paths


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                msg = f"{prefix + entry.name!r} is a link: a model folder holds plain files only"
                raise ForbiddenFile(msg)
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
                continue
            check_path(prefix + entry.name)
            if not entry.is_file():
                msg = f"{prefix + entry.name!r} is not a plain file"
                raise ForbiddenFile(msg)
            yield prefix + entry.name


def _check(description: Description) -> None:
    """Refuse, before a number is used, what could be written but not read back."""
    try:
        type(description).model_validate_json(description.model_dump_json())
    except ValueError as error:
        what = explain(error) if isinstance(error, ValidationError) else str(error)
        msg = f"the description of the model is not valid: {what}"
        raise InvalidManifest(msg) from error


def _upload(storage: Storage, claimed: Claim, folder: Path, path: str, progress: Progress | None) -> FileEntry:
    digest, size = hashlib.sha256(), 0

    def hashed() -> Iterator[bytes]:
        nonlocal size
        for chunk in _read(folder, path):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
            claimed.renew()
            if progress is not None:
                progress(len(chunk))

    storage.write(f"{model_folder(claimed.version)}/{path}", hashed())
    return FileEntry(path=path, size=size, sha256=digest.hexdigest())


def _read(folder: Path, path: str) -> Iterator[bytes]:
    try:
        with open_regular(folder / path) as file:
            while chunk := os.read(file, CHUNK):
                yield chunk
    except OSError as error:
        msg = f"{path!r} of {folder} cannot be read: {error.strerror}"
        raise IncompleteVersion(msg) from error


def _space(folder: Path, description: Description, entries: tuple[FileEntry, ...]) -> str:
    """The space id: a configuration counts by what it says, every other file by its bytes."""
    digests = {entry.path: entry.sha256 for entry in entries}
    for path in filter(is_configuration, digests):
        digests[path] = configuration_digest(path, b"".join(_read(folder, path)))
    return space_of(description, digests)


def _manifest_bytes(
    description: Description, version: int, files: tuple[FileEntry, ...], space_id: str
) -> tuple[Manifest, bytes]:
    described = description.model_dump(include=set(Description.model_fields))  # also a manifest: without its number
    manifest = Manifest(**described, version=version, created_at=datetime.now(UTC), files=files, space_id=space_id)
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    return parse_manifest(data, version), data


class _Claim(BaseModel):
    token: str
    host: str
    pid: int


class Claim:
    """The right to publish one version."""

    def __init__(self, storage: Storage, version: int, data: bytes) -> None:
        self.version = version
        self._storage = storage
        self._data = data
        self._renewed = time.monotonic()

    def renew(self, _: int = 0) -> None:
        """Renew the claim, at most every RENEW_SECONDS; call it between the pieces of a long upload."""
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._storage.replace(_claim_path(self.version), self._data)
            self._renewed = time.monotonic()

    def commit(self, manifest: bytes) -> None:
        """Write the manifest: from here on the version exists.

        Raises:
            PublishConflict: the claim had expired and the number was retired.
        """
        if not self._storage.create(manifest_path(self.version), manifest):
            msg = f"version {self.version} was given up by another publisher: this one showed no life for too long"
            raise PublishConflict(msg)
        self._storage.remove(_claim_path(self.version))

    def abandon(self) -> None:
        """Retire the number, unless it was committed."""
        if self._storage.create(manifest_path(self.version), RETIRED):
            clear(self._storage, self.version)


def claim(storage: Storage) -> Claim:
    """Claim the next number.

    Raises:
        PublishConflict: other publishers take one number after the other.
        RegistryUnavailable: the storage cannot be written.
    """
    data = _Claim(token=secrets.token_hex(16), host=socket.gethostname(), pid=os.getpid()).model_dump_json().encode()
    version = 0
    for _ in range(ATTEMPTS):
        version = max([version, *map(number_of, storage.children(VERSIONS))]) + 1
        if storage.create(_claim_path(version), data):
            return Claim(storage, version, data)
    msg = f"no version number could be claimed in {ATTEMPTS} attempts: the last was {version}"
    raise PublishConflict(msg)


def clear(storage: Storage, version: int) -> None:
    """Remove everything of a retired version except its mark."""
    for name in storage.children(version_folder(version)):
        if name != MANIFEST:
            storage.remove(f"{version_folder(version)}/{name}")


def sweep(storage: Storage, committed: int, lease_seconds: float) -> None:
    """Clear what died more than a lease before the version that was just committed, by the storage's own clock.

    What has no claim and no name of ours stays: a folder may have been somebody's before it became a registry.
    """
    try:
        versions: dict[int, dict[str, FileInfo]] = {}
        for path, info in storage.files(VERSIONS).items():
            name, _, rest = path.partition("/")
            if rest and number_of(name):
                versions.setdefault(number_of(name), {})[rest] = info
        deadline = versions[committed][MANIFEST].modified - lease_seconds
        for version, files in versions.items():
            _sweep_version(storage, version, files, deadline)
        for path, info in storage.files(ALIASES).items():
            if _TEMPORARY.fullmatch(path) and info.modified < deadline:
                storage.remove(f"{ALIASES}/{path}")
    except (RegistryUnavailable, FileNotFoundError, KeyError) as error:
        _log.warning("leftovers of dead publishers could not be cleared: %s", error)


def _sweep_version(storage: Storage, version: int, files: dict[str, FileInfo], deadline: float) -> None:
    manifest = files.get(MANIFEST)
    if manifest is None:
        dead = any(map(_is_of_a_publisher, files)) and max(info.modified for info in files.values()) < deadline
        if dead and storage.create(manifest_path(version), RETIRED):
            _log.warning("version %d was never finished: its publisher is dead; its files are removed", version)
            clear(storage, version)
    elif manifest.size == len(RETIRED):
        if len(files) > 1 and storage.read(manifest_path(version)) == RETIRED:
            clear(storage, version)
    else:
        for path, info in files.items():
            if _is_of_a_publisher(path) and info.modified < deadline:
                storage.remove(f"{version_folder(version)}/{path}")


def _is_of_a_publisher(path: str) -> bool:
    """Whether a file of a version's folder is what a publisher at work leaves there, if it is killed."""
    return path == _CLAIM or bool(_TEMPORARY.fullmatch(path))


def _claim_path(version: int) -> str:
    return f"{version_folder(version)}/{_CLAIM}"
