"""The engine: follows the aliases of the registry, and loads, swaps and unloads versions in a thread of its own.

    registry says 8 ─▶ load 8 ─▶ verify ─▶ probe ─▶ warm ─▶ alias moves to 8 ─▶ 7 is kept as the previous one
                         │ anything wrong                                        6 drains and is unloaded
                         └─▶ 8 is FAILED with the reason, 7 serves on, and 8 is tried again later

Callers never wait for any of this: `acquire` takes what is resident.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

from munjang.engine import memory, swapping
from munjang.engine.closing import Closer
from munjang.engine.contract import AliasStatus, Lease, VersionState, VersionStatus
from munjang.engine.observer import EngineObserver, SilentObserver
from munjang.engine.resident import Resident
from munjang.engine.retries import Retries
from munjang.engine.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from munjang.encoder.contract import Encoder
    from munjang.registry import Snapshot
    from munjang.registry.layout import AliasRecord, Manifest

NICENESS = 5
"""How far the loading thread stands behind the serving one; too far, and it would hold Python's lock while it waits."""


class Loader(Protocol):
    """Makes a version ready to serve; `VersionLoader` is the real one."""

    def __call__(self, version: int, progress: Callable[[VersionState], None]) -> tuple[Manifest, Encoder]:
        """The version's manifest and its encoder, verified and warm."""

    def stop(self) -> None:
        """Load no more; a load that runs may fail at once. Called from another thread."""


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
        self._table = Table()
        self._retries = Retries()
        self._asked_at: dict[str, float] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._closer = Closer(self._closed)
        self._thread = threading.Thread(target=self._run, name="munjang-engine-loader", daemon=True)

    def start(self) -> None:
        """Begin to load what the aliases name."""
        self._thread.start()

    def update(self, snapshot: Snapshot) -> None:
        """Take note of a new state of the registry; give this to a `Watcher` as its callback.

        An alias of a version that is resident moves at once, whatever is being loaded.
        """
        now = time.monotonic()
        with self._table.lock:
            for name, record in snapshot.aliases.items():
                known = self._table.aliases.get(name)
                if known is None or known.version != record.version:
                    self._asked_at[name] = now
                    self._retries.forget(record.version)
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
        self._retire(lambda: set(self._table.residents))
        self._closer.end()

    def acquire(self, name: str) -> Lease:
        """See `EngineContract.acquire`."""
        return self._table.acquire(name)

    def versions(self) -> list[VersionStatus]:
        """See `EngineContract.versions`."""
        return self._table.versions()

    def aliases(self) -> list[AliasStatus]:
        """See `EngineContract.aliases`."""
        return self._table.alias_states()

    @property
    def ready(self) -> bool:
        """Whether the first watched alias has a version to answer with."""
        return self._watched[0] in self._table.serving

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            if not self._step():
                self._wake.wait(self._retries.seconds_to_next())

    def _step(self) -> bool:
        """Move what can move, retire what nobody wants, load one version; whether there may be more to do at once."""
        wanted = self._move_aliases()
        self._retire(self._unwanted)
        version = swapping.to_load(wanted, self._table.residents.keys(), self._retries.waiting())
        if version is None:
            return False
        self._load(version)
        return True

    def _move_aliases(self) -> dict[str, int]:
        table = self._table
        moved = []
        with table.lock:
            wanted = swapping.targets(table.aliases, self._watched)
            for name, version in swapping.to_move(wanted, table.serving, table.residents.keys()).items():
                moved.append((name, table.serving.get(name, 0), version))
                table.serving[name] = version
        for name, old, new in moved:
            self._observer.alias_moved(name, old, new, time.monotonic() - self._asked_at[name])
        return wanted

    def _unwanted(self) -> set[int]:
        table = self._table
        wanted = swapping.targets(table.aliases, self._watched)
        return swapping.to_retire(
            table.aliases, wanted, table.serving, table.residents.keys(), keep_previous=self._keep_previous
        )

    def _load(self, version: int) -> None:
        if self._table.serving:
            _stand_behind()
        self._make_room(version)
        self._report(version, VersionState.LOADING)
        started = time.monotonic()
        try:
            manifest, encoder = self._loader(version, lambda state: self._report(version, state))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a new version, the old ones serve on
            self._fail(version, error)
            self._observer.load_finished(version, time.monotonic() - started, error)
            return
        with self._table.lock:
            del self._table.loading[version]
            self._table.failures.pop(version, None)
            self._table.residents[version] = Resident(manifest, encoder, self._closer.take)
        self._retries.forget(version)
        self._observer.load_finished(version, time.monotonic() - started, None)

    def _make_room(self, version: int) -> None:
        """Give up the versions that are only kept for a rollback, where memory is short."""
        table = self._table
        with table.lock:
            manifest = table.published.get(version)
        if manifest is not None and not memory.room_for(manifest.size_bytes):
            self._retire(lambda: table.residents.keys() - set(table.serving.values()))
            self._closer.wait()

    def _report(self, version: int, state: VersionState) -> None:
        with self._table.lock:
            self._table.loading[version] = state

    def _fail(self, version: int, error: Exception) -> None:
        self._retries.failed(version)
        with self._table.lock:
            del self._table.loading[version]
            self._table.failures[version] = f"{type(error).__name__}: {error}"

    def _retire(self, choose: Callable[[], AbstractSet[int]]) -> None:
        """Retire the resident versions that are chosen under the lock, so that no alias moves to them meanwhile."""
        table = self._table
        with table.lock:
            chosen = [table.residents.pop(version) for version in choose()]
            table.draining |= {resident.version: resident for resident in chosen}
        for resident in chosen:
            resident.retire()

    def _closed(self, version: int) -> None:
        with self._table.lock:
            self._table.draining.pop(version, None)
        self._observer.unloaded(version)


def _stand_behind() -> None:
    """Let the serving threads go before this one, where the system knows such a courtesy."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _aliases(snapshot: Snapshot) -> dict[str, AliasRecord]:
    """The aliases, without previous versions that were removed: nothing can be rolled back to them."""
    return {
        name: record if snapshot.holds(record.previous) else record.model_copy(update={"previous": 0})
        for name, record in snapshot.aliases.items()
    }
