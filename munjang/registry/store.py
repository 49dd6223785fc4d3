"""The registry as programs see it: publish, resolve, promote, roll back, verify, remove.

An alias is a small file with the version that it names and the one that it named before; this module reads and moves
aliases. `publish` publishes a folder; `storage` and `object_storage` keep the files.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from munjang.errors import (
    ConfigurationError,
    InvalidManifest,
    InvalidOption,
    RegistryError,
    RegistryUnavailable,
    VersionInUse,
    VersionNotFound,
    WrongKind,
)
from munjang.kinds import ModelKind
from munjang.registry.identity import identity_of_reader, read_identity
from munjang.registry.layout import (
    ALIAS_PATTERN,
    ALIASES,
    MANIFEST,
    RETIRED,
    SPACE_PATTERN,
    VERSIONS,
    AliasRecord,
    Manifest,
    alias_path,
    explain,
    manifest_path,
    model_folder,
    number_of,
    parse_manifest,
)
from munjang.registry.object_storage import ObjectStorage
from munjang.registry.publish import LEASE_SECONDS, clear, publish
from munjang.registry.space import with_space
from munjang.registry.storage import LocalStorage
from munjang.registry.verify import verify_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.registry.layout import Description
    from munjang.registry.storage import Storage
    from munjang.registry.verify import Progress

DEFAULT = "stable"
"""The alias of a caller who names no version of a dense model."""

RERANK = "rerank"
"""The alias of a caller who names no version of a cross-encoder."""

DEFAULT_OF = {ModelKind.DENSE: DEFAULT, ModelKind.CROSS_ENCODER: RERANK}
"""These two aliases name versions of their kind alone; any other alias may name either."""

_LOCK = f"{ALIASES}/.lock"
"""The lock for changing an alias or removing a version, if the storage has locks."""

_SUFFIX = ".json"
_log = logging.getLogger(__name__)


class Registry:
    """A model registry at a path or an fsspec URL. Methods may be called from any thread and any number of processes.

    Every method raises RegistryUnavailable where the storage cannot be reached.

    Attributes:
        storage: where its files are.
        url: its address as messages name it.
        local: whether its files lie on a disk of this machine.
    """

    def __init__(self, url: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Set the place; nothing is read or written yet.

        Args:
            url: a folder, which need not exist, or an fsspec URL.
            lease_seconds: a publisher that wrote nothing for this long is dead, and its files may be removed.

        Raises:
            ConfigurationError: an unknown protocol, or one whose package is not installed.
        """
        self.storage = _open_storage(url)
        self.url = self.storage.url
        self.local = self.storage.local
        self._lease_seconds = lease_seconds

    def exists(self) -> bool:
        """Whether something is there: for a folder, whether there is one. An object store's bucket is looked for."""
        return self.storage.exists()

    def publish(self, folder: Path, description: Description, *, progress: Progress | None = None) -> Manifest:
        """Publish a model folder as the next version; no alias moves.

        Raises:
            ForbiddenFile, PathEscape: the folder holds what a model may not hold.
            IncompleteVersion: there is no such folder, or it is empty.
            InvalidManifest: the description cannot be written and read back.
            PublishConflict: this publisher paused so long that another one retired its number.
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
            InvalidManifest, UnsupportedManifest, ForbiddenFile, PathEscape: its manifest is not valid.
        """
        return with_space(parse_manifest(self._manifest_bytes(version), version))

    def identity(self) -> str:
        """The registry's id; "" where it has none: it is empty, or older than ids and this program may not write."""
        return identity_of_reader(self.storage) if self.stamps() else read_identity(self.storage)

    def in_space(self, space_id: str) -> list[int]:
        """The versions of a space, newest first; one whose manifest cannot be read is in none."""
        found = []
        for version in reversed(self.versions()):
            try:
                if self.manifest(version).space_id == space_id:
                    found.append(version)
            except RegistryUnavailable:
                raise
            except (RegistryError, VersionNotFound):
                continue
        return found

    def resolve(self, name: str) -> int:
        """The version that a number or an alias names, or the newest one of a space; "" is "stable".

        Raises:
            VersionNotFound: no such version, alias or space.
            InvalidManifest: the alias's file is not valid.
        """
        if SPACE_PATTERN.fullmatch(name):
            return self._newest_in(name)
        number = number_of(name)
        if number:
            self._manifest_bytes(number)
            return number
        return self.alias(name or DEFAULT).version

    def alias(self, name: str) -> AliasRecord:
        """Where an alias points.

        Raises:
            VersionNotFound: no such alias.
            InvalidManifest: its file is half-written or not valid.
        """
        record = self._read_alias(name) if ALIAS_PATTERN.fullmatch(name) else None
        if record is None:
            msg = f"there is no version or alias {name!r} in {self.url}; {self._existing()}"
            raise VersionNotFound(msg)
        return record

    def aliases(self) -> dict[str, AliasRecord]:
        """All aliases whose files are valid; `alias_problems` tells of the others."""
        return self.read_aliases()[0]

    def alias_problems(self) -> dict[str, str]:
        """Why an alias's file cannot be read, by alias."""
        return self.read_aliases()[1]

    def read_aliases(self) -> tuple[dict[str, AliasRecord], dict[str, str]]:
        """All aliases by name, and for each that cannot be read the reason, from one listing."""
        records: dict[str, AliasRecord] = {}
        problems: dict[str, str] = {}
        for file in self.storage.children(ALIASES):
            alias = file.removesuffix(_SUFFIX)
            if file.startswith(".") or alias == file:
                continue
            if not ALIAS_PATTERN.fullmatch(alias):
                problems[alias] = f"{file!r} is not the name of an alias"
                continue
            try:
                record = self._read_alias(alias)
            except RegistryUnavailable:
                raise
            except RegistryError as error:
                problems[alias] = str(error)
            else:
                if record is not None:
                    records[alias] = record
        return records, problems

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        """Point an alias at a version, and remember the one it named before. Nothing changes if it names it already.

        Raises:
            InvalidOption: not a name for an alias.
            VersionNotFound: no such version.
            WrongKind: `stable` would name a cross-encoder, or `rerank` a dense model.
        """
        with self._locked(alias):
            _check_kind(alias, self.manifest(version))
            try:
                record = self._read_alias(alias)
            except InvalidManifest as error:
                _log.warning("%s; it is written again", error)
                record = None
            if record is not None and record.version == version:
                return record
            return self._move(alias, version, record.version if record else 0, by)

    def rollback(self, alias: str, by: str = "") -> AliasRecord:
        """Point an alias at the version that it named before; a second rollback goes forward again.

        Raises:
            InvalidOption: not a name for an alias.
            VersionNotFound: no such alias, it named nothing before, or that version is gone.
            InvalidManifest: the alias's file is not valid.
        """
        with self._locked(alias):
            record = self._read_alias(alias)
            if record is None:
                msg = f"there is no alias {alias!r}"
                raise VersionNotFound(msg, field="alias")
            if not record.previous:
                msg = f"alias {alias!r} named no version before {record.version}: there is nothing to go back to"
                raise VersionNotFound(msg, field="alias")
            self.manifest(record.previous)
            return self._move(alias, record.previous, record.version, by)

    def verify(self, version: int, *, progress: Progress | None = None) -> Manifest:
        """Read every file of a version and compare it with the manifest.

        Raises:
            VersionNotFound: no such version.
            InvalidManifest, UnsupportedManifest: its manifest is not valid.
            ForbiddenFile, PathEscape, IncompleteVersion, HashMismatch: its files are not what the manifest says.
        """
        manifest = self.manifest(version)
        verify_files(self.storage, model_folder(version), manifest, progress)
        return manifest

    def remove(self, version: int, *, force: bool = False) -> None:
        """Remove a version for good; its number is not reused.

        Args:
            version: a committed version.
            force: remove it too if an alias could roll back to it.

        Raises:
            VersionNotFound: no such version.
            VersionInUse: an alias names it, or could roll back to it and `force` is not set.
            InvalidManifest: an alias's file is not valid, so that it might name this version.
        """
        with self.storage.lock(_LOCK):
            self._manifest_bytes(version)
            self._refuse_used(version, force=force)
            self.storage.replace(manifest_path(version), RETIRED)
            clear(self.storage, version)

    def local_folder(self, version: int) -> Path | None:
        """Where a version's model lies on this machine, or None for a registry elsewhere. It is not checked."""
        return self.storage.path(model_folder(version)) if isinstance(self.storage, LocalStorage) else None

    def _newest_in(self, space_id: str) -> int:
        versions = self.in_space(space_id)
        if not versions:
            msg = f"no version of {self.url} has the space {space_id}; {self._existing()}"
            raise VersionNotFound(msg)
        return versions[0]

    def _read_alias(self, alias: str) -> AliasRecord | None:
        try:
            return AliasRecord.model_validate_json(self.storage.read(alias_path(alias)))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            msg = f"the file of alias {alias!r} is not valid: {explain(error)}"
            raise InvalidManifest(msg) from error

    @contextmanager
    def _locked(self, alias: str) -> Iterator[None]:
        """Take the lock for changing aliases, if this is a valid name of one."""
        if not ALIAS_PATTERN.fullmatch(alias):
            msg = (
                f"{alias!r} cannot be an alias: a small letter, then up to 62 small letters, digits, - or _, "
                "and not a name that looks like a space id (32 hexadecimal digits)"
            )
            raise InvalidOption(msg, field="alias")
        with self.storage.lock(_LOCK):
            yield

    def _move(self, alias: str, version: int, previous: int, by: str) -> AliasRecord:
        record = AliasRecord(version=version, previous=previous, changed_at=datetime.now(UTC), by=by)
        self.storage.replace(alias_path(alias), record.model_dump_json(indent=2).encode() + b"\n")
        _log.info("alias %s names version %d, before %d", alias, version, previous)
        return record

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
        records, problems = self.read_aliases()
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


def _check_kind(alias: str, manifest: Manifest) -> None:
    """Refuse to let a default alias name a version that callers without a version could not use."""
    kind = next((kind for kind, default in DEFAULT_OF.items() if default == alias), manifest.kind)
    if kind is not manifest.kind:
        told = f"version {manifest.version} is a {manifest.kind} model, and {alias!r} names {kind} models only"
        msg = f"{told}: its own default alias is {DEFAULT_OF[manifest.kind]!r}"
        raise WrongKind(msg, field="alias")


def _open_storage(url: str) -> Storage:
    """The storage that a path or URL names. Nothing is read or written yet."""
    if not url.strip():
        msg = "the registry's address is empty: give a folder or an fsspec URL such as s3://bucket/models"
        raise ConfigurationError(msg, field="registry")
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStorage(Path(url).expanduser().absolute())
    if scheme in {"file", "local"}:
        parts = urlsplit(url)
        return LocalStorage(Path(unquote(parts.netloc + parts.path)).expanduser().absolute())
    if not rest.strip("/"):
        msg = f"the registry {url!r} names no place within {scheme}: give {scheme}://bucket/folder"
        raise ConfigurationError(msg, field="registry")
    return ObjectStorage(url)
