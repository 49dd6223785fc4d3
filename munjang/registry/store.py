"""The registry as programs see it: publish, resolve, alias, verify, remove. The modules beside it say how."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from munjang.errors import InvalidManifest, VersionInUse, VersionNotFound
from munjang.registry import aliases as _aliases
from munjang.registry import claims
from munjang.registry.layout import (
    ALIAS_PATTERN,
    MANIFEST,
    RETIRED,
    VERSIONS,
    AliasRecord,
    Manifest,
    manifest_path,
    model_folder,
    number_of,
    parse_manifest,
)
from munjang.registry.local import LocalStorage
from munjang.registry.publish import publish
from munjang.registry.storage import open_storage
from munjang.registry.verify import verify_files

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.registry.layout import Description
    from munjang.registry.verify import Progress


class Registry:
    """A model registry at a path or an fsspec URL. Methods may be called from any thread and any number of processes.

    Every method raises RegistryUnavailable where the storage cannot be reached.

    Attributes:
        storage: where its files are.
        url: its address as messages name it.
        local: whether its files lie on a disk of this machine.
    """

    def __init__(self, url: str, *, lease_seconds: float = claims.LEASE_SECONDS) -> None:
        """Name the place; nothing is read or written yet.

        Args:
            url: a folder, which need not exist, or an fsspec URL.
            lease_seconds: a publisher that wrote nothing for so long is dead, and what it left may be cleared.

        Raises:
            ConfigurationError: an unknown protocol, or one whose package is not installed.
        """
        self.storage = open_storage(url)
        self.url = self.storage.url
        self.local = self.storage.local
        self._lease_seconds = lease_seconds

    def publish(self, folder: Path, description: Description, *, progress: Progress | None = None) -> Manifest:
        """Publish a model folder as the next version; no alias moves.

        Raises:
            ForbiddenFile, PathEscape: the folder holds what a model may not hold.
            IncompleteVersion: there is no such folder, or it is empty.
            InvalidManifest: the description cannot be written and read back.
            PublishConflict: this publisher stood still so long that another one gave its number up.
        """
        return publish(self.storage, folder, description, self._lease_seconds, progress)

    def versions(self) -> list[int]:
        """The numbers of all committed versions, ascending."""
        return sorted(self.stamps())

    def stamps(self) -> dict[int, str]:
        """Every committed version with a mark that would change if its manifest were written again."""
        marks = self.storage.marks(VERSIONS, MANIFEST)
        return {
            number_of(name): info.stamp for name, info in marks.items() if number_of(name) and info.size != len(RETIRED)
        }

    def manifest(self, version: int) -> Manifest:
        """The manifest of a committed version.

        Raises:
            VersionNotFound: no such version.
            InvalidManifest, UnsupportedManifest, ForbiddenFile, PathEscape: its manifest cannot be believed.
        """
        return parse_manifest(self._manifest_bytes(version), version)

    def resolve(self, name: str) -> int:
        """The version that a number or an alias names; "" is "stable".

        Raises:
            VersionNotFound: no such version or alias.
            InvalidManifest: the alias's file is not valid.
        """
        number = number_of(name)
        if number:
            self._manifest_bytes(number)
            return number
        return self.alias(name or _aliases.DEFAULT).version

    def alias(self, name: str) -> AliasRecord:
        """Where an alias points.

        Raises:
            VersionNotFound: no such alias.
            InvalidManifest: its file is not valid.
        """
        record = _aliases.read_alias(self.storage, name) if ALIAS_PATTERN.fullmatch(name) else None
        if record is None:
            msg = f"there is no version or alias {name!r} in {self.url}; {self._existing()}"
            raise VersionNotFound(msg)
        return record

    def aliases(self) -> dict[str, AliasRecord]:
        """All aliases whose files are valid; `alias_problems` tells of the others."""
        return _aliases.read_aliases(self.storage)[0]

    def alias_problems(self) -> dict[str, str]:
        """Why an alias's file cannot be read, by alias."""
        return _aliases.read_aliases(self.storage)[1]

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        """Let an alias name a version, and remember the one it named before. Nothing changes if it names it already.

        Raises:
            InvalidOption: not a name for an alias.
            VersionNotFound: no such version.
        """
        return _aliases.promote(self.storage, alias, version, by, self.manifest)

    def rollback(self, alias: str, by: str = "") -> AliasRecord:
        """Let an alias name the version that it named before; a second rollback goes forward again.

        Raises:
            InvalidOption: not a name for an alias.
            VersionNotFound: no such alias, it named nothing before, or that version is gone.
            InvalidManifest: the alias's file is not valid.
        """
        return _aliases.rollback(self.storage, alias, by, self.manifest)

    def verify(self, version: int, *, progress: Progress | None = None) -> Manifest:
        """Read every file of a version and compare it with the manifest.

        Raises:
            VersionNotFound: no such version.
            InvalidManifest, UnsupportedManifest: its manifest cannot be believed.
            ForbiddenFile, PathEscape, IncompleteVersion, HashMismatch: its files are not what the manifest says.
        """
        manifest = self.manifest(version)
        verify_files(self.storage, model_folder(version), manifest, progress)
        return manifest

    def remove(self, version: int, *, force: bool = False) -> None:
        """Remove a version for ever; its number is not given again.

        Args:
            version: a committed version.
            force: remove it too if an alias could roll back to it.

        Raises:
            VersionNotFound: no such version.
            VersionInUse: an alias names it, or could roll back to it and `force` is not set.
            InvalidManifest: an alias's file is not valid, so that it might name this version.
        """
        with self.storage.lock(_aliases.LOCK):
            self._manifest_bytes(version)
            self._refuse_used(version, force=force)
            self.storage.replace(manifest_path(version), RETIRED)
            claims.clear(self.storage, version)

    def local_folder(self, version: int) -> Path | None:
        """Where a version's model lies on this machine, or None for a registry elsewhere. It was not looked at."""
        return self.storage.path(model_folder(version)) if isinstance(self.storage, LocalStorage) else None

    def _manifest_bytes(self, version: int) -> bytes:
        data = None
        if version > 0:
            with suppress(FileNotFoundError):
                data = self.storage.read(manifest_path(version))
        if data is None:
            msg = f"there is no version {version} in {self.url}; {self._existing()}"
            raise VersionNotFound(msg)
        if data == RETIRED:
            msg = f"version {version} of {self.url} was removed or never finished; {self._existing()}"
            raise VersionNotFound(msg)
        return data

    def _existing(self) -> str:
        versions = ", ".join(map(str, self.versions())) or "none"
        aliases = ", ".join(sorted(self.aliases())) or "none"
        return f"versions: {versions}; aliases: {aliases}"

    def _refuse_used(self, version: int, *, force: bool) -> None:
        records, problems = _aliases.read_aliases(self.storage)
        for alias, problem in problems.items():
            msg = f"{problem}; it might name version {version}: promote {alias!r} again first"
            raise InvalidManifest(msg)
        for alias, record in records.items():
            if record.version == version:
                msg = f"alias {alias!r} names version {version}: promote another version first"
                raise VersionInUse(msg)
            if record.previous == version and not force:
                msg = f"alias {alias!r} could roll back to version {version}: remove it with force if it never will"
                raise VersionInUse(msg)
