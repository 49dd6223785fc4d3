"""Follows a registry by polling, because a second channel could lose changes. The callback acts on a change.

A snapshot is the whole registry at one moment. A manifest never changes, so each is read once; an alias that cannot be
read keeps its last good value. If the registry cannot be reached, nothing changes: the last good snapshot stays,
`error` says what is wrong, and polling continues.
"""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from munjang.errors import ConfigurationError, InvalidManifest, RegistryError, RegistryUnavailable, VersionNotFound
from munjang.registry.identity import IDENTITY
from munjang.registry.layout import alias_path, version_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from munjang.registry.layout import AliasRecord, Manifest
    from munjang.registry.store import Registry

LOCAL_SECONDS = 1.0
"""The interval on a disk, where a poll costs nothing."""

REMOTE_SECONDS = 5.0
"""The interval on an object store, where every poll is a few requests."""

CLOSE_SECONDS = 1.0
"""How long `close` waits for a poll that is stuck in the network; its thread ends with the process."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one moment.

    Attributes:
        versions: the manifest of every committed version that can be read, by ascending number.
        aliases: every alias, by name.
        problems: what cannot be read and why, by its place in the registry (`versions/7`, `aliases/stable.json`).
        registry_id: the registry's own id; "" where it has none yet.
    """

    versions: Mapping[int, Manifest]
    aliases: Mapping[str, AliasRecord]
    problems: Mapping[str, str] = field(default_factory=dict)
    registry_id: str = field(default="", compare=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.versions or self.aliases or self.problems)

    def holds(self, version: int) -> bool:
        """Whether a version is there, though its manifest may be unreadable just now."""
        return version in self.versions or version_folder(version) in self.problems


class SnapshotReader:
    """Takes snapshots of one registry, one at a time, and reads again only what may have changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[int, str], Manifest | str] = {}
        self._aliases: Mapping[str, AliasRecord] = {}
        self._identity = ""

    def read(self) -> Snapshot:
        """Look at the registry.

        Raises:
            RegistryUnavailable: it cannot be read.
        """
        problems: dict[str, str] = {}
        versions: dict[int, Manifest] = {}
        known = {}
        for version, stamp in sorted(self._registry.stamps().items()):
            found = self._known.get((version, stamp)) or self._manifest(version)
            if found is None:
                continue
            known[version, stamp] = found
            if isinstance(found, str):
                problems[version_folder(version)] = found
            else:
                versions[version] = found
        aliases, unreadable = self._registry.read_aliases()
        for alias, problem in unreadable.items():
            problems[alias_path(alias)] = problem
            if alias in self._aliases:
                aliases[alias] = self._aliases[alias]
        self._known, self._aliases = known, aliases
        return Snapshot(versions, dict(sorted(aliases.items())), problems, self._registry_id(problems))

    def _registry_id(self, problems: dict[str, str]) -> str:
        """The registry's id, asked for until it is known."""
        try:
            self._identity = self._identity or self._registry.identity()
        except InvalidManifest as error:
            problems[IDENTITY] = str(error)
        return self._identity

    def _manifest(self, version: int) -> Manifest | str | None:
        try:
            return self._registry.manifest(version)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            return str(error)
        except VersionNotFound:  # removed since it was listed
            return None


class Watcher:
    """Polls a registry in a thread of its own, and tells a callback when something changed.

    Args:
        registry: the registry to follow.
        interval: seconds between two polls; 0 is every second on a disk and every five on an object store.
        callback: called in the watcher's thread with the first snapshot and with each that differs from the one before.
            If it raises, that is logged, and it is called again at the next poll.

    Raises:
        ConfigurationError: a negative interval.
    """

    def __init__(
        self, registry: Registry, interval: float = 0, callback: Callable[[Snapshot], None] | None = None
    ) -> None:
        if interval < 0:
            msg = f"the interval of looking at the registry is {interval} s: it cannot be negative"
            raise ConfigurationError(msg, field="watch_seconds")
        self.interval = interval or (LOCAL_SECONDS if registry.local else REMOTE_SECONDS)
        self._registry = registry
        self._reader = SnapshotReader(registry)
        self._callback = callback
        self._latest: Snapshot | None = None
        self._delivered: Snapshot | None = None
        self._error: Exception | None = None
        self._looks = threading.Condition()
        self._begun = self._ended = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="munjang-registry-watcher", daemon=True)

    @property
    def latest(self) -> Snapshot | None:
        """The last good snapshot; None before the first."""
        return self._latest

    @property
    def error(self) -> Exception | None:
        """Why the last poll failed, or None if it succeeded."""
        return self._error

    def start(self) -> Self:
        """Start to poll; the first poll is at once."""
        self._thread.start()
        return self

    def look(self, timeout: float = 10.0) -> bool:
        """Poll now, not at the next interval; whether a poll that began after this call ended within `timeout`."""
        with self._looks:
            goal = self._begun + 1
            self._wake.set()
            self._looks.wait_for(lambda: self._ended >= goal or self._closing.is_set(), timeout)
            return self._ended >= goal

    def close(self) -> None:
        """Stop polling. The callback is not called again; if it is running, wait for it, one second at most."""
        self._closing.set()
        self._wake.set()
        with self._looks:
            self._looks.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        self.close()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._closing.is_set():  # asked after the clearing, which may have swallowed the call of `close`
                return
            with self._looks:
                self._begun += 1
                begun = self._begun
            self._look()
            with self._looks:
                self._ended = begun
                self._looks.notify_all()
            # replicas that started together must not keep polling together
            self._wake.wait(self.interval * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load, guards nothing

    def _look(self) -> None:
        try:
            snapshot = self._reader.read()
            if snapshot.empty and self._latest is not None and not self._latest.empty:
                msg = f"the registry {self._registry.url} is suddenly empty: it is taken to be unreachable"
                raise RegistryUnavailable(msg)  # noqa: TRY301 - the same as one that says so itself
        except Exception as error:  # noqa: BLE001 - whatever fails, the last snapshot stays and polling continues
            self._note(error)
            return
        self._note(None)
        if snapshot != self._latest:
            self._latest = snapshot
        if snapshot != self._delivered and not self._closing.is_set():
            self._deliver(snapshot)

    def _note(self, error: Exception | None) -> None:
        if error is not None and str(error) != str(self._error or ""):
            _log.warning("the registry cannot be read; what was last seen stays: %s", error)
        elif error is None and self._error is not None:
            _log.info("the registry %s can be read again", self._registry.url)
        self._error = error

    def _deliver(self, snapshot: Snapshot) -> None:
        old = self._delivered.problems if self._delivered else {}
        for place, problem in snapshot.problems.items():
            if old.get(place) != problem:
                _log.warning("%s cannot be used: %s", place, problem)
        try:
            if self._callback is not None:
                self._callback(snapshot)
        except Exception:  # noqa: BLE001 - a handler that fails must not end the polling
            _log.exception("a change of the registry could not be handled; it is told again at the next look")
        else:
            self._delivered = snapshot
