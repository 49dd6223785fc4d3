"""Version numbers: claiming one against other publishers, and clearing what dead publishers left.

A number is claimed by creating `versions/<n>/claim.json` exclusively. What decides over it later is `manifest.json`,
created exclusively too: by its publisher, as the commit mark, or, once the claim has shown no life for a whole lease,
by another publisher, as the mark RETIRED. Only one of the two can succeed, so a publisher that wakes up late cannot
commit a version whose files were cleared. A number is never given twice, nor does a dead one hold up the next.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from pydantic import BaseModel

from munjang.errors import PublishConflict, RegistryUnavailable
from munjang.registry.layout import (
    ALIASES,
    MANIFEST,
    MODEL,
    RETIRED,
    VERSIONS,
    manifest_path,
    number_of,
    version_folder,
)

if TYPE_CHECKING:
    from munjang.registry.storage import FileInfo, Storage

LEASE_SECONDS = 3600.0
"""A publisher that has written nothing for so long is dead."""

RENEW_SECONDS = 30.0
"""How often a living publisher renews its claim; far below the lease."""

ATTEMPTS = 100
"""How many numbers in a row another publisher may snatch away."""

_CLAIM = "claim.json"
_log = logging.getLogger(__name__)


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
        """Show life, at most every RENEW_SECONDS; call it between the pieces of a long upload."""
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._storage.replace(_claim_path(self.version), self._data)
            self._renewed = time.monotonic()

    def commit(self, manifest: bytes) -> None:
        """Write the manifest: from here on the version exists.

        Raises:
            PublishConflict: the claim was held dead and the number was retired.
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
    """Remove all of a retired version but its mark."""
    for name in storage.children(version_folder(version)):
        if name != MANIFEST:
            storage.remove(f"{version_folder(version)}/{name}")


def sweep(storage: Storage, committed: int, lease_seconds: float) -> None:
    """Clear what died more than a lease before the version that was just committed, by the storage's own clock."""
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
            if path.endswith(".tmp") and info.modified < deadline:
                storage.remove(f"{ALIASES}/{path}")
    except (RegistryUnavailable, FileNotFoundError, KeyError) as error:
        _log.warning("leftovers of dead publishers could not be cleared: %s", error)


def _sweep_version(storage: Storage, version: int, files: dict[str, FileInfo], deadline: float) -> None:
    manifest = files.get(MANIFEST)
    if manifest is None:
        dead = max(info.modified for info in files.values()) < deadline
        if dead and storage.create(manifest_path(version), RETIRED):
            _log.warning("version %d was never finished: its publisher is dead; its files are removed", version)
            clear(storage, version)
    elif manifest.size == len(RETIRED):
        if len(files) > 1 and storage.read(manifest_path(version)) == RETIRED:
            clear(storage, version)
    else:
        for path, info in files.items():
            if path != MANIFEST and not path.startswith(f"{MODEL}/") and info.modified < deadline:
                storage.remove(f"{version_folder(version)}/{path}")


def _claim_path(version: int) -> str:
    return f"{version_folder(version)}/{_CLAIM}"
