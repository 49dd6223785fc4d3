"""The engine: follows the aliases of the registry, and loads, swaps and unloads versions in its own thread.

    registry says 8 ─▶ load 8 ─▶ verify ─▶ probe ─▶ warm ─▶ alias moves to 8 ─▶ 7 is kept as the previous one
                         │ anything wrong                                        6 drains and is unloaded
                         └─▶ 8 is FAILED with the reason, 7 keeps serving, and 8 is tried again later

Callers never wait for any of this: `acquire` leases a loaded version.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from munjang.engine import memory
from munjang.engine.contract import AliasStatus, Lease, VersionState, VersionStatus
from munjang.engine.version_table import LoadedVersion, VersionTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from munjang.encoder.contract import Encoder
    from munjang.registry import Snapshot
    from munjang.registry.layout import AliasRecord, Manifest

NICENESS = 5
"""The loading thread's priority while others serve; with a lower one, it would hold Python's lock while it waits."""

_log = logging.getLogger(__name__)


class Loader(Protocol):
    """Makes a version ready to serve; `VersionLoader` is the real one."""

    def __call__(self, version: int, progress: Callable[[VersionState], None]) -> tuple[Manifest, Encoder]:
        """The version's manifest and its encoder, verified and warm."""

    def stop(self) -> None:
        """Load nothing more; a running load may fail at once. Called from another thread."""


class EngineObserver(Protocol):
    """Told of every load, swap and unload."""

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """A version was loaded, verified and warmed, or failed with an error; the others keep serving."""

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """An alias answers with another version, `seconds` after the registry said so; `old` is 0 the first time."""

    def unloaded(self, version: int) -> None:
        """A version was drained and its memory given back."""


class SilentObserver:
    """An observer that ignores every event."""

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """Do nothing."""

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """Do nothing."""

    def unloaded(self, version: int) -> None:
        """Do nothing."""


class Engine:
    """The resident versions of one process; implements `EngineContract`.

    Args:
        loader: makes a version ready.
        aliases: the aliases to follow; the first is the one that readiness is about.
        keep_previous: keep the version that an alias named before, once it is resident, for a rollback without loading.
        observer: told of every load, swap and unload.
    """

    def __init__(
        self,
        loader: Loader,
        aliases: Sequence[str],
        *,
        keep_previous: bool = True,
        observer: EngineObserver | None = None,
    ) -> None:
        self._loader = loader
        self._watched = tuple(aliases)
        self._keep_previous = keep_previous
        self._observer = observer or SilentObserver()
        self._table = VersionTable()
        self._asked_at: dict[str, float] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._closer = ThreadPoolExecutor(1, "munjang-engine-closer")
        self._thread = threading.Thread(target=self._run, name="munjang-engine-loader", daemon=True)

    def start(self) -> None:
        """Start to load the versions that the aliases name."""
        self._thread.start()

    def update(self, snapshot: Snapshot) -> None:
        """Follow a new state of the registry; pass this to a `Watcher` as its callback.

        An alias of a version that is resident moves at once, whatever is being loaded.
        """
        now = time.monotonic()
        with self._table.lock:
            for name, record in snapshot.aliases.items():
                known = self._table.aliases.get(name)
                if known is None or known.version != record.version:
                    self._asked_at[name] = now
                    self._table.retry_at_once(record.version)
            self._table.published = snapshot.versions
            self._table.aliases = {**self._table.aliases, **_aliases(snapshot)}
        self._move_aliases()
        self._wake.set()

    def close(self, timeout: float = 10.0) -> None:
        """Stop loading and retire every version; those in use close when their leases end."""
        self._closing.set()
        self._loader.stop()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._table.retire(lambda: set(self._table.loaded))
        self._closer.shutdown()

    def acquire(self, name: str) -> Lease:
        """See `EngineContract.acquire`."""
        return self._table.acquire(name)

    def versions(self) -> list[VersionStatus]:
        """See `EngineContract.versions`."""
        return self._table.versions()

    def aliases(self) -> list[AliasStatus]:
        """See `EngineContract.aliases`."""
        return self._table.alias_statuses()

    @property
    def ready(self) -> bool:
        """Whether the first watched alias has a version to answer with."""
        return self._watched[0] in self._table.serving

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            if not self._step():
                self._wake.wait(self._table.seconds_to_retry(self._watched))

    def _step(self) -> bool:
        """Move aliases that can move, retire unneeded versions, load one; whether there may be more to do at once."""
        self._move_aliases()
        self._table.retire(lambda: self._table.unneeded(self._watched, keep_previous=self._keep_previous))
        version = self._table.next_to_load(self._watched)
        if version is None:
            return False
        self._load(version)
        return True

    def _move_aliases(self) -> None:
        for name, old, new in self._table.move_aliases(self._watched):
            self._observer.alias_moved(name, old, new, time.monotonic() - self._asked_at[name])

    def _load(self, version: int) -> None:
        if self._table.serving:
            with suppress(OSError, AttributeError):  # if the system has priorities of threads
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._make_room(version)
        self._report(version, VersionState.LOADING)
        started = time.monotonic()
        try:
            manifest, encoder = self._loader(version, lambda state: self._report(version, state))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a new version, the old ones keep serving
            self._table.fail(version, error)
            self._observer.load_finished(version, time.monotonic() - started, error)
            return
        with self._table.lock:
            del self._table.loading[version]
            self._table.failures.pop(version, None)
            self._table.loaded[version] = LoadedVersion(manifest, encoder, self._close_soon)
        self._observer.load_finished(version, time.monotonic() - started, None)

    def _make_room(self, version: int) -> None:
        """Unload the versions that are only kept for a rollback, if memory is short."""
        table = self._table
        with table.lock:
            manifest = table.published.get(version)
        if manifest is not None and not memory.room_for(manifest.size_bytes):
            table.retire(lambda: table.loaded.keys() - set(table.serving.values()))
            with suppress(RuntimeError):  # it was shut down, and so waited for all already
                self._closer.submit(int).result()  # when this is done, those that had no leases are closed

    def _report(self, version: int, state: VersionState) -> None:
        with self._table.lock:
            self._table.loading[version] = state

    def _close_soon(self, loaded: LoadedVersion) -> None:
        """Close it on a separate thread: the one that releases a last lease, perhaps an event loop, must not wait."""
        try:
            self._closer.submit(self._close, loaded)
        except RuntimeError:  # shut down: nothing is served any more, so any thread can wait
            self._close(loaded)

    def _close(self, loaded: LoadedVersion) -> None:
        try:
            loaded.encoder.close()
            memory.give_back()
        except Exception:  # noqa: BLE001 - whatever it is, the next one is closed too
            _log.exception("version %d could not be closed", loaded.version)
        with self._table.lock:
            self._table.draining.pop(loaded.version, None)
        self._observer.unloaded(loaded.version)


def _aliases(snapshot: Snapshot) -> dict[str, AliasRecord]:
    """The aliases, without previous versions that were removed: nothing can be rolled back to them."""
    return {
        name: record if snapshot.holds(record.previous) else record.model_copy(update={"previous": 0})
        for name, record in snapshot.aliases.items()
    }
