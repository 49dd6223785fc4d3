"""Which versions are resident, which alias answers with which, and why others are not: the state that callers read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.engine.contract import AliasStatus, VersionState, VersionStatus
from munjang.errors import VersionLoading, VersionNotFound, VersionNotReady

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.engine.resident import Resident, ResidentLease
    from munjang.registry.layout import AliasRecord, Manifest

DEFAULT_ALIAS = "stable"
"""What a request means that names no version."""


@dataclass
class Table:
    """The engine's state. The engine's thread writes under `lock`; callers read through the methods."""

    published: Mapping[int, Manifest] = field(default_factory=dict)
    aliases: Mapping[str, AliasRecord] = field(default_factory=dict)
    residents: dict[int, Resident] = field(default_factory=dict)
    draining: dict[int, Resident] = field(default_factory=dict)
    loading: dict[int, VersionState] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    serving: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acquire(self, name: str) -> ResidentLease:
        """See `EngineContract.acquire`."""
        with self.lock:
            version = self._number(name or DEFAULT_ALIAS)
            resident = self.residents.get(version)
            lease = resident.lease() if resident else None
            if lease is None:
                raise self._why_not(name or DEFAULT_ALIAS, version)
            return lease

    def versions(self) -> list[VersionStatus]:
        """See `EngineContract.versions`."""
        with self.lock:
            numbers = {*self.published, *self.residents, *self.draining, *self.loading, *self.failures}
            return [self._status(version) for version in sorted(numbers, reverse=True)]

    def alias_states(self) -> list[AliasStatus]:
        """See `EngineContract.aliases`."""
        with self.lock:
            return [
                AliasStatus(name, record.version, record.previous, self.serving.get(name, 0))
                for name, record in sorted(self.aliases.items())
            ]

    def _number(self, name: str) -> int:
        if name.isascii() and name.isdigit():
            return int(name)
        if name in self.serving:
            return self.serving[name]
        if name in self.aliases:
            return self.aliases[name].version
        known = ", ".join(sorted(self.aliases)) or "none yet"
        msg = f"there is no version or alias {name!r}; aliases: {known}"
        raise VersionNotFound(msg, field="options.version")

    def _why_not(self, name: str, version: int) -> VersionLoading | VersionNotReady | VersionNotFound:
        if version in self.loading:
            msg = f"version {version} is being loaded"
            return VersionLoading(msg, field="options.version", retry_after=1.0)
        if version in self.failures:
            msg = f"version {version} could not be loaded; ModelService.GetVersion says why"
            return VersionNotReady(msg, field="options.version")
        if name in self.aliases:
            msg = f"version {version}, which {name!r} names, is about to be loaded"
            return VersionLoading(msg, field="options.version", retry_after=1.0)
        if version in self.published or version in self.draining:
            resident = ", ".join(map(str, sorted(self.residents))) or "none"
            msg = f"version {version} is published but not served here; served: {resident}"
            return VersionNotReady(msg, field="options.version")
        msg = f"there is no version {name}"
        return VersionNotFound(msg, field="options.version")

    def _status(self, version: int) -> VersionStatus:
        manifest = self.published.get(version)
        if version in self.residents:
            return VersionStatus(version, VersionState.AVAILABLE, manifest=self.residents[version].manifest)
        if version in self.loading:
            return VersionStatus(version, self.loading[version], manifest=manifest)
        if version in self.draining:
            return VersionStatus(version, VersionState.DRAINING, manifest=self.draining[version].manifest)
        if version in self.failures:
            return VersionStatus(version, VersionState.FAILED, self.failures[version], manifest)
        return VersionStatus(version, VersionState.PUBLISHED, manifest=manifest)
