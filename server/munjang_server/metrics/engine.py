"""Metrics of the engine: loads, swaps, and which versions are resident."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge, Histogram

from munjang.engine.contract import VersionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from munjang.engine.contract import EngineContract

LOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)

log = structlog.get_logger("munjang.server.engine")


class EngineMetrics:
    """Counts and logs what the engine does; implements `EngineObserver`.

    Args:
        registry: where the metrics are registered.
        expect: told of every version that was loaded, so that its series begin at zero.
        forget: told of every version that was unloaded, in any thread.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        expect: Callable[[int], None],
        forget: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._expect = expect
        self._forget = forget
        loads = Counter("munjang_server_loads", "Versions that were loaded, or not.", ["outcome"], registry=registry)
        self._loaded = loads.labels("ok")
        self._load_failed = loads.labels("failed")
        self._load_seconds = Histogram(
            "munjang_server_load_seconds", "Loading a version.", buckets=LOAD_SECONDS, registry=registry
        )
        self._swaps = Counter("munjang_server_swaps", "Aliases that moved.", registry=registry)
        self._swap_seconds = Histogram(
            "munjang_server_swap_seconds",
            "From a change in the registry to its being served.",
            buckets=LOAD_SECONDS,
            registry=registry,
        )
        self._unloads = Counter("munjang_server_unloads", "Versions that were unloaded.", registry=registry)
        self._serving = Gauge(
            "munjang_server_alias_version", "The version that an alias answers with.", ["alias"], registry=registry
        )

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """Count a load, and say why it failed."""
        self._load_seconds.observe(seconds)
        if error is None:
            self._expect(version)
            self._loaded.inc()
            log.info("version loaded", version=version, seconds=round(seconds, 3))
        else:
            self._load_failed.inc()
            reason = f"{type(error).__name__}: {error}"
            log.error("version failed; the others serve on", version=version, reason=reason)

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """Count a swap."""
        self._swaps.inc()
        self._swap_seconds.observe(seconds)
        self._serving.labels(alias).set(new)
        log.info("alias moved", alias=alias, old=old, new=new, seconds=round(seconds, 3))

    def unloaded(self, version: int) -> None:
        """Count an unloading."""
        self._forget(version)
        self._unloads.inc()
        log.info("version unloaded", version=version)


def show_versions(registry: CollectorRegistry, engine: EngineContract) -> None:
    """Show how many versions are in each state, read whenever the page is."""
    versions = Gauge(
        "munjang_server_versions", "Versions by state; published: not loaded.", ["state"], registry=registry
    )
    for state in VersionState:
        versions.labels(state).set_function(partial(_count, engine, state))
    resident = Gauge("munjang_server_resident_versions", "Versions in memory.", registry=registry)
    resident.set_function(partial(_count, engine, VersionState.AVAILABLE, VersionState.DRAINING))
    ready = Gauge("munjang_server_ready", "1 where the first alias has a version to answer with.", registry=registry)
    ready.set_function(lambda: engine.ready)


def _count(engine: EngineContract, *states: VersionState) -> int:
    return sum(status.state in states for status in engine.versions())
