"""How fast one token may bring work: a bucket for texts and one for model tokens, refilled by time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_SECONDS = 10.0
"""A bucket holds so many seconds of its rate."""


@dataclass(slots=True)
class Bucket:
    """Work that may be done now, refilled at `rate` a second. A request larger than the bucket runs it into debt.

    So a large batch is never impossible, it only has to be waited for afterwards.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    level: float = field(init=False)
    seen: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin full."""
        self.level = self.rate * BURST_SECONDS
        self.seen = self.clock()

    def take(self, amount: float) -> float:
        """Take an amount; 0 if it was there, else nothing is taken and the seconds until it will be come back."""
        now = self.clock()
        full = self.rate * BURST_SECONDS
        self.level = min(full, self.level + (now - self.seen) * self.rate)
        self.seen = now
        missing = min(amount, full) - self.level
        if missing > 0:
            return missing / self.rate
        self.level -= amount
        return 0.0


class Limiter:
    """The rate of one token; 0 leaves a kind of work unlimited."""

    def __init__(
        self, texts_per_second: float, tokens_per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._texts = Bucket(texts_per_second, clock) if texts_per_second else None
        self._tokens = Bucket(tokens_per_second, clock) if tokens_per_second else None

    def charge(self, *, texts: int = 0, tokens: int = 0) -> None:
        """Count work.

        Raises:
            RateLimited: the rate is used up; `retry_after` says until when.
        """
        _charge(self._texts, texts, "texts")
        _charge(self._tokens, tokens, "tokens")


def _charge(bucket: Bucket | None, amount: int, kind: str) -> None:
    if bucket is None or not amount:
        return
    wait = bucket.take(amount)
    if wait:
        msg = f"this token may bring {bucket.rate:g} {kind} a second, and that is used up"
        raise RateLimited(msg, retry_after=wait)
