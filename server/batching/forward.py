"""One forward: run, timed, checked, and visible to the watchdog. What a failure means is left to `trial`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from server.batching.contract import Lane
from server.batching.isolate import good_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from server.batching.speed import SpeedMeter


@dataclass(slots=True, eq=False)
class Running:
    """The forward that runs now, or pauses.

    Attributes:
        started: when, by `time.monotonic()`.
        expected: seconds that it is expected to take, without pauses.
        tokens: of its texts, without padding.
        parts: between as many it pauses.
        paused: seconds of its pauses until now.
    """

    started: float
    expected: float
    tokens: int
    parts: int = 1
    paused: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has run, without pauses."""
        return time.monotonic() - self.started - self.paused

    def let_pass(self, others: Callable[[], None]) -> None:
        """Pause while others run."""
        begun = time.monotonic()
        others()
        self.paused += time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a forward of so many tokens ended: rows float32 [n, D] and which of them are finite, or an error."""

    tokens: int
    started: float
    seconds: float
    rows: NDArray[np.float32] | None = None
    good: NDArray[np.bool_] | None = None
    error: BaseException | None = None


class Forward:
    """Runs forwards on the engine thread: one at a time, and others while one pauses.

    Attributes:
        running: the one that runs now, or None. May be read by any thread.
        succeeded: `time.monotonic()` of the end of the last one that succeeded.
    """

    def __init__(self, speed: SpeedMeter) -> None:
        self._speed = speed
        self.running: Running | None = None
        self.succeeded = float("-inf")

    def busy_seconds(self, lane: Lane) -> float:
        """Seconds until the engine is expected to be free for this lane; 0 if no forward runs."""
        running = self.running
        if running is None:
            return 0.0
        left = max(0.0, running.expected - running.seconds)
        return min(left, running.expected / running.parts) if lane is Lane.INTERACTIVE else left

    def run(self, lease: Lease, tokens: Sequence[Tokens], pause: Callable[[], None] | None = None) -> Outcome:
        """Run one forward; whatever it raises is the outcome.

        Args:
            lease: on the version that runs.
            tokens: of the texts.
            pause: is called between the parts of a long forward; it may run other forwards, whose time does not count.
        """
        size = sum(map(len, tokens))
        expected = self._speed.curve(lease.version).seconds(size)
        pausing, self.running = self.running, Running(time.monotonic(), expected, size)
        running = self.running
        try:
            if pause is None or lease.encoder.parts == 1:
                rows = lease.encoder.forward(tokens)
            else:
                running.parts = lease.encoder.parts
                rows = lease.encoder.forward(tokens, partial(running.let_pass, pause))
            seconds = running.seconds
            good = good_rows(rows, len(tokens))
        except BaseException as error:  # noqa: BLE001 - a forward may raise anything, and the engine thread must live on
            return Outcome(size, running.started, running.seconds, error=error.with_traceback(None))
        finally:
            self.running = pausing
        self.succeeded = time.monotonic()
        return Outcome(size, running.started, seconds, rows, good)

    def learn(self, version: int, outcome: Outcome) -> None:
        """Learn a version's speed from a forward that succeeded. Apart from `run`, so that no answer waits for it."""
        if outcome.error is None:
            self._speed.record(version, outcome.tokens, outcome.seconds)
