"""Whether the engine works, as far as is known: stuck or not, and which versions fail. For the event loop alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from munjang_server.batching.contract import OnHealth
    from munjang_server.batching.observer import Observer

_log = logging.getLogger(__name__)


class Health:
    """The state, and who is told of it.

    The engine is unhealthy while a forward is stuck, or while the main version fails: the one that "" names, and before
    that is known any. Another version that fails is refused by itself and leaves the engine healthy.
    """

    def __init__(self, on_health: OnHealth | None, observer: Observer) -> None:
        self._on_health = on_health
        self._observer = observer
        self._stuck = ""
        self._failing: dict[int, str] = {}
        self._main: int | None = None
        self._told = True

    @property
    def healthy(self) -> bool:
        """Whether forwards of the main version succeed."""
        return not self._reason()

    @property
    def stuck(self) -> bool:
        """Whether a forward is stuck, or was and none has succeeded since."""
        return bool(self._stuck)

    @property
    def failing(self) -> list[int]:
        """The versions that fail."""
        return list(self._failing)

    def why_not(self, version: int) -> str:
        """Why texts of this version cannot be encoded now; empty if they can."""
        return self._stuck or self._failing.get(version, "")

    def main_is(self, version: int) -> None:
        """This is the main version now."""
        self._main = version
        self._tell()

    def set_stuck(self, reason: str) -> None:
        """A forward is stuck, or with an empty reason none is any more."""
        self._stuck = reason
        self._tell()

    def fails(self, version: int, reason: str) -> None:
        """Forwards of this version fail."""
        self._failing[version] = reason
        self._tell()

    def works(self, version: int) -> None:
        """They succeed, or the version is gone."""
        self._failing.pop(version, None)
        self._tell()

    def _reason(self) -> str:
        if self._stuck or self._main is None:
            return self._stuck or next(iter(self._failing.values()), "")
        return self._failing.get(self._main, "")

    def _tell(self) -> None:
        healthy, reason = self.healthy, self._reason()
        if healthy == self._told:
            return
        self._told = healthy
        if healthy:
            _log.info("the engine works again")
        else:
            _log.error("the engine does not work: %s", reason)
        self._observer.health(healthy)
        if self._on_health is not None:
            try:
                self._on_health(healthy, reason)
            except Exception:  # noqa: BLE001 - the listener is not ours, and the watchdog must go on
                _log.exception("whoever wanted to know about the engine's health failed")
