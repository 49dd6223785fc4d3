"""When to doubt what was learned: a size that is held too slow for its callers is never run, so nothing corrects that.

After a slow spell of the machine it would be refused for ever. So one request is tried of a size that was refused for a
while on end, and what was known of that size is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from munjang_server.batching.speed import SpeedMeter

_SOONEST, _LATEST = 1.0, 30.0  # bounds of the time of refusals before a try, seconds
_COST = 20.0  # times what a try may take: a hopeless caller costs a twentieth of the engine


class Doubt:
    """For the event loop. A size is a class of the curve of speed, of one version."""

    def __init__(self, speed: SpeedMeter) -> None:
        self._speed = speed
        self._since: dict[tuple[int, int], float] = {}

    def admitted(self, version: int, tokens: int) -> None:
        """A forward of so many tokens comes, and what is known will be corrected."""
        self._since.pop((version, tokens.bit_length()), None)

    def tries(self, version: int, tokens: int, seconds: float, now: float) -> bool:
        """Whether to try a forward of so many tokens that is to be refused as too slow, and may run so many seconds."""
        since = self._since.setdefault((version, tokens.bit_length()), now)
        return now - since >= min(max(_SOONEST, _COST * seconds), _LATEST)

    def tried(self, version: int, tokens: int) -> None:
        """A forward of so many tokens is tried: forget what was known of it."""
        self.admitted(version, tokens)
        self._speed.forget(version, tokens)
