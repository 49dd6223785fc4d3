"""The whole registry at one moment: all manifests and aliases, and what is wrong with those that cannot be read.

A manifest never changes, so each is read once. An alias that cannot be read keeps its last good value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.errors import RegistryError, RegistryUnavailable, VersionNotFound
from munjang.registry.aliases import read_aliases
from munjang.registry.layout import alias_path, version_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.registry.layout import AliasRecord, Manifest
    from munjang.registry.store import Registry


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one moment.

    Attributes:
        versions: the manifest of every committed version that can be read, by ascending number.
        aliases: every alias, by name.
        problems: what cannot be read and why, by its place in the registry (`versions/7`, `aliases/stable.json`).
    """

    versions: Mapping[int, Manifest]
    aliases: Mapping[str, AliasRecord]
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.versions or self.aliases or self.problems)

    def holds(self, version: int) -> bool:
        """Whether a version is there, though its manifest may be unreadable just now."""
        return version in self.versions or version_folder(version) in self.problems


class Surveyor:
    """Takes snapshots of one registry, one at a time, and reads again only what may have changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[int, str], Manifest | str] = {}
        self._aliases: Mapping[str, AliasRecord] = {}

    def take(self) -> Snapshot:
        """Look at the registry.

        Raises:
            RegistryUnavailable: it cannot be read.
        """
        problems: dict[str, str] = {}
        versions: dict[int, Manifest] = {}
        known = {}
        for version, stamp in sorted(self._registry.stamps().items()):
            found = self._known.get((version, stamp)) or self._read(version)
            if found is None:
                continue
            known[version, stamp] = found
            if isinstance(found, str):
                problems[version_folder(version)] = found
            else:
                versions[version] = found
        aliases, unreadable = read_aliases(self._registry.storage)
        for alias, problem in unreadable.items():
            problems[alias_path(alias)] = problem
            if alias in self._aliases:
                aliases[alias] = self._aliases[alias]
        self._known, self._aliases = known, aliases
        return Snapshot(versions, dict(sorted(aliases.items())), problems)

    def _read(self, version: int) -> Manifest | str | None:
        try:
            return self._registry.manifest(version)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            return str(error)
        except VersionNotFound:  # removed since it was listed
            return None
