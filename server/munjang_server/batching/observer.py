"""What the batcher tells about itself while it works; metrics and tests listen. Gauges are read from `Batcher.load`."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.batching.contract import Lane

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One batch that was formed.

    Attributes:
        version: the model version that runs it.
        lane: the lane that it was taken from.
        texts: how many.
        tokens: of the texts.
        computed_tokens: what the forward computes, padding included.
        oldest_seconds: how long the oldest of them had waited.
    """

    version: int
    lane: Lane
    texts: int
    tokens: int
    computed_tokens: int
    oldest_seconds: float


class Observer:
    """Hears of every event and ignores it; override what you need.

    The methods are called on the engine's threads or the event loop, must be quick and thread-safe, and an exception
    from one is logged and goes no further.
    """

    def batch(self, seen: BatchSeen) -> None:
        """A batch was formed and has run."""

    def forward(self, version: int, lane: Lane, seconds: float, ok: bool) -> None:
        """A forward ended. `ok` is False where it raised."""

    def refused(self, reason: str, lane: Lane, texts: int) -> None:
        """A request was not admitted; `reason` is the error's reason, as in error_reason.proto."""

    def dropped(self, reason: str, lane: Lane, texts: int) -> None:
        """Admitted texts were not run: "expired", "cancelled", or the reason of the error that failed them."""

    def dead(self, version: int, tokens: int) -> None:
        """A forward ended that had carried tokens for callers who were gone by then."""

    def split(self, version: int) -> None:
        """A failed batch was split to find the guilty text."""

    def failed(self, version: int, texts: int) -> None:
        """Texts were found guilty: they fail the forward, or give rows that are not finite, also alone."""

    def out_of_memory(self, version: int, budget: int) -> None:
        """A forward ran out of memory; `budget` is the new budget in tokens."""

    def probe(self, version: int, seconds: float, ok: bool) -> None:
        """A probe forward ended."""

    def restarted(self) -> None:
        """A thread of the engine had died or met a defect, and was set going again."""

    def health(self, healthy: bool) -> None:
        """The engine turned healthy or not."""


class Guarded(Observer):
    """Passes every event to another observer, and logs what that raises."""

    def __init__(self, inner: Observer) -> None:
        for event in (name for name in vars(Observer) if not name.startswith("_")):
            setattr(self, event, _guarded(getattr(inner, event)))


def _guarded(tell: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(tell)
    def told(*arguments: object) -> None:
        try:
            tell(*arguments)
        except Exception:  # noqa: BLE001 - the observer is not ours, and the engine must go on
            _log.exception("an observer failed")

    return told
