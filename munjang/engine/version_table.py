"""Which versions are loaded, which version each alias answers with, and why others do not: the state that callers read.

A loaded version counts its leases. It is retired when no alias needs it. It then gives no new leases, and is closed
when the last one is released. Loading and closing are left to the engine.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from munjang.engine.contract import AliasStatus, VersionState, VersionStatus
from munjang.errors import ModelError, VersionLoading, VersionNotFound, VersionNotReady
from munjang.registry.layout import SPACE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from munjang.encoder.contract import Encoder
    from munjang.registry.layout import AliasRecord, Manifest

DEFAULT_ALIAS = "stable"
"""The alias of a request that names no version."""

FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0
LAST_MODEL_RETRY_SECONDS = 3600.0
"""The waits before a version that failed is loaded again: the first one, and the longest. If the model itself
failed, for example its probes, the longest is an hour: only new files or libraries will help."""


class LoadedVersion:
    """A loaded version and its leases. Every method may be called from any thread.

    Args:
        manifest: what was published.
        encoder: its loaded model.
        on_drained: called once, when it can no longer be used, in the thread that released the last lease: it must
            get the encoder closed.
    """

    def __init__(self, manifest: Manifest, encoder: Encoder, on_drained: Callable[[LoadedVersion], None]) -> None:
        self.manifest = manifest
        self.encoder = encoder
        self._on_drained = on_drained
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    def lease(self) -> VersionLease | None:
        """A lease, or None if the version was retired in the meantime."""
        with self._lock:
            if self._retired:
                return None
            self._leases += 1
        return VersionLease(self)

    def retire(self) -> None:
        """Give no new leases, and be drained once the last one is released."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            idle = self._leases == 0
        if idle:
            self._on_drained(self)

    def share(self) -> VersionLease:
        """One more lease for the holder of an unreleased one, even while the version drains.

        Raises:
            RuntimeError: the last lease was given back after the version was retired, so the model is closed.
        """
        with self._lock:
            if self._retired and self._leases == 0:
                msg = f"version {self.version} is closed: only a lease that was not released can be shared"
                raise RuntimeError(msg)
            self._leases += 1
        return VersionLease(self)

    def release(self) -> None:
        """Release one lease; each lease calls this once."""
        with self._lock:
            self._leases -= 1
            last = self._retired and self._leases == 0
        if last:
            self._on_drained(self)


class VersionLease:
    """The right to use a loaded version until `release`. Not shared between threads."""

    __slots__ = ("_loaded", "_released", "encoder", "manifest", "space_id", "version")

    def __init__(self, loaded: LoadedVersion) -> None:
        self._loaded = loaded
        self._released = False
        self.version = loaded.version
        self.space_id = loaded.manifest.space_id
        self.encoder = loaded.encoder
        self.manifest = loaded.manifest
        self.space_id = loaded.manifest.space_id

    def share(self) -> VersionLease:
        """See `Lease.share`."""
        return self._loaded.share()

    def release(self) -> None:
        """Release the lease; a second call does nothing."""
        if not self._released:
            self._released = True
            self._loaded.release()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Release."""
        self.release()


@dataclass
class Failure:
    """Why a version could not be loaded, and when it is loaded again: seconds of the monotonic clock."""

    reason: str
    wait: float
    retry_at: float


@dataclass
class VersionTable:
    """The engine's state. The engine's thread writes under `lock`; callers read through the methods."""

    published: Mapping[int, Manifest] = field(default_factory=dict)
    aliases: Mapping[str, AliasRecord] = field(default_factory=dict)
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    draining: dict[int, LoadedVersion] = field(default_factory=dict)
    loading: dict[int, VersionState] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    serving: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acquire(self, name: str) -> VersionLease:
        """See `EngineContract.acquire`."""
        with self.lock:
            version = self._number(name or DEFAULT_ALIAS)
            loaded = self.loaded.get(version)
            lease = loaded.lease() if loaded else None
            if lease is None:
                raise self._why_not(name or DEFAULT_ALIAS, version)
            return lease

    def versions(self) -> list[VersionStatus]:
        """See `EngineContract.versions`."""
        with self.lock:
            numbers = {*self.published, *self.loaded, *self.draining, *self.loading, *self.failures}
            return [self._status(version) for version in sorted(numbers, reverse=True)]

    def alias_statuses(self) -> list[AliasStatus]:
        """See `EngineContract.aliases`."""
        with self.lock:
            return [
                AliasStatus(name, record.version, record.previous, self.serving.get(name, 0))
                for name, record in sorted(self.aliases.items())
            ]

    def next_to_load(self, watched: Sequence[str]) -> int | None:
        """The first version that a watched alias names, but that is neither loaded nor waiting for a retry."""
        with self.lock:
            return next((version for version, wait in self._missing(watched).items() if not wait), None)

    def seconds_to_retry(self, watched: Sequence[str]) -> float | None:
        """Until the next version that a watched alias names is to be loaded again; None if none is."""
        with self.lock:
            return min(self._missing(watched).values(), default=None)

    def fail(self, version: int, error: Exception) -> None:
        """Note why a version could not be loaded; each attempt waits twice as long as the one before, to a bound."""
        longest = LAST_MODEL_RETRY_SECONDS if isinstance(error, ModelError) else LAST_RETRY_SECONDS
        with self.lock:
            self.loading.pop(version, None)
            before = self.failures.get(version)
            wait = min(longest, 2 * before.wait) if before and before.wait else FIRST_RETRY_SECONDS
            self.failures[version] = Failure(f"{type(error).__name__}: {error}", wait, time.monotonic() + wait)

    def retry_at_once(self, version: int) -> None:
        """Allow a failed version to be loaded again without a wait. Needs the lock."""
        if version in self.failures:
            self.failures[version] = Failure(self.failures[version].reason, 0.0, 0.0)

    def move_aliases(self, watched: Sequence[str]) -> list[tuple[str, int, int]]:
        """Let watched aliases answer with the versions that they name, if loaded: each name, old and new version."""
        moved = []
        with self.lock:
            for name, version in self._wanted(watched).items():
                old = self.serving.get(name, 0)
                if version in self.loaded and version != old:
                    self.serving[name] = version
                    moved.append((name, old, version))
        return moved

    def unneeded(self, watched: Sequence[str], *, keep_previous: bool) -> set[int]:
        """The loaded versions that no watched alias names, answers with, or would roll back to. Needs the lock."""
        wanted = self._wanted(watched)
        kept = {*wanted.values(), *self.serving.values()}
        if keep_previous:
            kept |= {self.aliases[name].previous for name in wanted}
        return set(self.loaded) - kept

    def retire(self, choose: Callable[[], AbstractSet[int]]) -> None:
        """Retire the versions that are chosen under the lock, so that no alias moves to them meanwhile."""
        with self.lock:
            chosen = [self.loaded.pop(version) for version in choose()]
            self.draining |= {loaded.version: loaded for loaded in chosen}
        for loaded in chosen:
            loaded.retire()

    def _missing(self, watched: Sequence[str]) -> dict[int, float]:
        """The versions that watched aliases name but that are not loaded, with the seconds until they may be."""
        now = time.monotonic()
        missing = (version for version in self._wanted(watched).values() if version not in self.loaded)
        failures = ((version, self.failures.get(version)) for version in missing)
        return {version: max(0.0, failure.retry_at - now) if failure else 0.0 for version, failure in failures}

    def _wanted(self, watched: Sequence[str]) -> dict[str, int]:
        return {name: self.aliases[name].version for name in watched if name in self.aliases}

    def _number(self, name: str) -> int:
        if SPACE_PATTERN.fullmatch(name):
            return self._newest_in(name)
        if name.isascii() and name.isdigit():
            return int(name)
        if name in self.serving:
            return self.serving[name]
        if name in self.aliases:
            return self.aliases[name].version
        known = ", ".join(sorted(self.aliases)) or "none yet"
        msg = f"there is no version or alias {name!r}; aliases: {known}"
        raise VersionNotFound(msg, field="options.version")

    def _newest_in(self, space_id: str) -> int:
        """The newest loaded version of a space, or the newest published one where none is loaded."""
        manifests = (*self.published.values(), *(loaded.manifest for loaded in self.loaded.values()))
        versions = {manifest.version for manifest in manifests if manifest.space_id == space_id}
        if not versions:
            msg = f"there is no version of the space {space_id}"
            raise VersionNotFound(msg, field="options.version")
        return max(versions & self.loaded.keys() or versions)

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
            served = ", ".join(map(str, sorted(self.loaded))) or "none"
            msg = f"version {version} is published but not served here; served: {served}"
            return VersionNotReady(msg, field="options.version")
        msg = f"there is no version {name}"
        return VersionNotFound(msg, field="options.version")

    def _status(self, version: int) -> VersionStatus:
        manifest = self.published.get(version)
        if version in self.loaded:
            return VersionStatus(version, VersionState.AVAILABLE, manifest=self.loaded[version].manifest)
        if version in self.loading:
            return VersionStatus(version, self.loading[version], manifest=manifest)
        if version in self.draining:
            return VersionStatus(version, VersionState.DRAINING, manifest=self.draining[version].manifest)
        if version in self.failures:
            return VersionStatus(version, VersionState.FAILED, self.failures[version].reason, manifest)
        return VersionStatus(version, VersionState.PUBLISHED, manifest=manifest)
