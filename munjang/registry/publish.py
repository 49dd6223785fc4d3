"""Publishing one model folder: check, claim a number, copy and hash, commit. Numbers are left to `claims`."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from munjang.errors import ForbiddenFile, IncompleteVersion, InvalidManifest, RegistryUnavailable
from munjang.registry.claims import claim, sweep
from munjang.registry.disk import open_regular
from munjang.registry.layout import Description, FileEntry, Manifest, check_path, explain, model_folder, parse_manifest
from munjang.registry.storage import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from munjang.registry.claims import Claim
    from munjang.registry.storage import Storage
    from munjang.registry.verify import Progress

_log = logging.getLogger(__name__)


def publish(
    storage: Storage, folder: Path, description: Description, lease_seconds: float, progress: Progress | None = None
) -> Manifest:
    """Publish a folder as the next version; until the last step no reader sees anything of it.

    Raises:
        ForbiddenFile, PathEscape: the folder holds what a model may not hold.
        IncompleteVersion: there is no such folder, or it is empty.
        InvalidManifest: the description cannot be written and read back, such as a metric that is not a number.
        PublishConflict: the claim was lost.
        RegistryUnavailable: the storage cannot be written.
    """
    paths = model_files(folder)
    _check(description)
    claimed = claim(storage)
    try:
        entries = tuple(_upload(storage, claimed, folder, path, progress) for path in paths)
        manifest, data = _manifest_bytes(description, claimed.version, entries)
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
    """Refuse, before a number is spent on it, what could be written but not read back."""
    try:
        type(description).model_validate_json(description.model_dump_json())
    except ValueError as error:
        what = explain(error) if isinstance(error, ValidationError) else str(error)
        msg = f"the description of the model is not valid: {what}"
        raise InvalidManifest(msg) from error


def _fields(description: Description) -> dict[str, Any]:
    """The description alone, also of a manifest that is published again elsewhere."""
    return description.model_dump(include=set(Description.model_fields))


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


def _manifest_bytes(description: Description, version: int, files: tuple[FileEntry, ...]) -> tuple[Manifest, bytes]:
    manifest = Manifest(**_fields(description), version=version, created_at=datetime.now(UTC), files=files)
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    return parse_manifest(data, version), data
