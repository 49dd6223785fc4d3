"""One forward: run, timed, checked, and visible to the watchdog. What a failure means is left to `trial`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.batching.isolate import good_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from server.batching.speed import SpeedMeter


@dataclass(frozen=True, slots=True)
class Running:
    """The forward that runs now. `expected` seconds from `started`; `tokens` without padding."""

    started: float
    expected: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a forward ended: with rows float32 [n, D] and which of them are finite, or with an error."""

    started: float
    seconds: float
    rows: NDArray[np.float32] | None = None
    good: NDArray[np.bool_] | None = None
    error: BaseException | None = None


class Forward:
    """Runs forwards, one at a time, on the engine thread.

    Attributes:
        running: the one that runs now, or None. May be read by any thread.
        succeeded: `time.monotonic()` of the end of the last one that succeeded.
    """

    def __init__(self, speed: SpeedMeter) -> None:
        self._speed = speed
        self.running: Running | None = None
        self.succeeded = float("-inf")

    @property
    def busy_seconds(self) -> float:
        """Seconds until the forward that runs now is expected to end; 0 if none runs."""
        running = self.running
        return 0.0 if running is None else max(0.0, running.started + running.expected - time.monotonic())

    def run(self, lease: Lease, tokens: Sequence[Tokens], *, measure: bool = True) -> Outcome:
        """Run one forward; whatever it raises is the outcome. `measure`: learn the speed from it."""
        size = sum(map(len, tokens))
        started = time.monotonic()
        self.running = Running(started, self._speed.curve(lease.version).seconds(size), size)
        try:
            rows = lease.encoder.forward(tokens)
            seconds = time.monotonic() - started
            good = good_rows(rows, len(tokens))
        except BaseException as error:  # noqa: BLE001 - a forward may raise anything, and the engine thread must live on
            return Outcome(started, time.monotonic() - started, error=error.with_traceback(None))
        finally:
            self.running = None
        self.succeeded = time.monotonic()
        if measure:
            self._speed.record(lease.version, size, seconds)
        return Outcome(started, seconds, rows, good)
