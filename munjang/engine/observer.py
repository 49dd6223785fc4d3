"""Who wants to know what the engine does: metrics and logs of a program. Calls may come from any thread."""

from __future__ import annotations

from typing import Protocol


class EngineObserver(Protocol):
    """Told of every load, swap and unload."""

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """A version was loaded, verified and warmed, or failed with an error; the others serve on."""

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """An alias answers with another version, `seconds` after the registry said so; `old` is 0 the first time."""

    def unloaded(self, version: int) -> None:
        """A version was drained and its memory given back."""


class SilentObserver:
    """Nobody wants to know."""

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """Do nothing."""

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """Do nothing."""

    def unloaded(self, version: int) -> None:
        """Do nothing."""
