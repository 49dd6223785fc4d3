"""The batcher as the servicers use it; the interface stands here first, its parts follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.batching.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.engine.contract import Lease
    from munjang.settings import ServerSettings
    from server.batching.contract import OnHealth


class Batcher:
    """Implements `BatcherContract`.

    Args:
        settings: budgets, bounds and shares.
        acquire: leases a version by name, as `EngineContract.acquire`; the watchdog's probe runs on "".
        observer: hears of every event.
        on_health: is called on the event loop when the engine turns healthy or not.
    """

    def __init__(
        self,
        settings: ServerSettings,
        acquire: Callable[[str], Lease],
        observer: Observer | None = None,
        on_health: OnHealth | None = None,
    ) -> None:
        self._settings = settings
        self._acquire = acquire
        self._observer = observer or Observer()
        self._on_health = on_health
