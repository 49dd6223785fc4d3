"""How far estimates can be trusted: they cannot know who will come and go first, nor what else the machine will do."""

from __future__ import annotations

_STEP = 0.05
_MOST = 2.0
_LASTS = 5.0  # seconds


class Patience:
    """The factor that estimates are taken by, kept where one request in a hundred takes longer. For the event loop.

    It lasts a few seconds without news, for what it makes refused brings none: nobody would show that it is too high.
    """

    def __init__(self) -> None:
        self._factor = 1.0
        self._at = 0.0

    def factor(self, now: float) -> float:
        """1 or more."""
        return self._factor if now - self._at <= _LASTS else 1.0

    def learn(self, *, late: bool, now: float) -> None:
        """A request took longer than was allowed for it, or did not."""
        step = 1 + _STEP if late else 1 - _STEP / 100
        self._factor = min(max(self.factor(now) * step, 1.0), _MOST)
        self._at = now
