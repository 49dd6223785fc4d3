"""One forward: run, timed, checked, and visible to the watchdog. What a failure means is left to `trial`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from munjang_server.batching.contract import Lane
from munjang_server.batching.isolate import good_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang_server.batching.speed import SpeedMeter


@dataclass(slots=True, eq=False)
class Running:
    """A forward that runs now, or pauses.

    Attributes:
        started: when, by `time.monotonic()`.
        expected: seconds that it is expected to take, without pauses.
        tokens: of its texts, without padding.
        parts: between as many it pauses.
        paused: seconds of its pauses until now.
        pausing: whether it pauses now.
    """

    started: float
    expected: float
    tokens: int
    parts: int = 1
    paused: float = 0.0
    pausing: bool = False

    @property
    def seconds(self) -> float:
        """How long it has run, without pauses."""
        return time.monotonic() - self.started - self.paused

    def let_pass(self, others: Callable[[], None]) -> None:
        """Pause while others run."""
        begun = time.monotonic()
        self.pausing = True
        try:
            others()
        finally:
            self.pausing = False
            self.paused += time.monotonic() - begun

    def busy_seconds(self, lane: Lane) -> float:
        """Seconds until it is expected to make way for this lane, by its end or by a pause."""
        left = max(0.0, self.expected - self.seconds)
        return min(left, self.expected / self.parts) if lane is Lane.INTERACTIVE else left


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a forward ended: rows float32 [n, D] and which of them are finite, or an error.

    `tokens` are those that all who ran beside each other computed meanwhile, if they were as many as this one's.
    """

    tokens: int
    started: float
    seconds: float
    rows: NDArray[np.float32] | None = None
    good: NDArray[np.bool_] | None = None
    error: BaseException | None = None


class Forward:
    """Runs forwards on the engine's threads.

    Attributes:
        succeeded: `time.monotonic()` of the end of the last one that succeeded.
    """

    def __init__(self, speed: SpeedMeter) -> None:
        self._speed = speed
        self._running: list[Running] = []
        self.succeeded = float("-inf")

    @property
    def running(self) -> list[Running]:
        """Those that run now and do not pause. May be read by any thread."""
        return [one for one in self._running.copy() if not one.pausing]

    def busy_seconds(self, lane: Lane) -> float:
        """Seconds until the engine is expected to be free for this lane; 0 if no forward runs."""
        return min((one.busy_seconds(lane) for one in self.running), default=0.0)

    def run(
        self, lease: Lease, tokens: Sequence[Tokens], pause: Callable[[], None] | None = None, share: int = 1
    ) -> Outcome:
        """Run one forward; whatever it raises is the outcome.

        Args:
            lease: on the version that runs.
            tokens: of the texts.
            pause: is called between the parts of a long forward; it may run other forwards, whose time does not count.
            share: of so many that run beside each other this is one.
        """
        size = sum(map(len, tokens))
        expected = self._speed.curve(lease.version).seconds(share * size)
        running = Running(time.monotonic(), expected, size)
        self._running.append(running)
        try:
            if share > 1:
                rows = lease.encoder.forward(tokens, beside=True)
            elif pause is None or lease.encoder.parts == 1:
                rows = lease.encoder.forward(tokens)
            else:
                running.parts = lease.encoder.parts
                rows = lease.encoder.forward(tokens, partial(running.let_pass, pause))
            seconds = running.seconds
            good = good_rows(rows, len(tokens))
        except BaseException as error:  # noqa: BLE001 - a forward may raise anything, and its thread must live on
            return Outcome(share * size, running.started, running.seconds, error=error.with_traceback(None))
        finally:
            self._running.remove(running)
        self.succeeded = time.monotonic()
        return Outcome(share * size, running.started, seconds, rows, good)

    def learn(self, version: int, outcome: Outcome) -> None:
        """Learn a version's speed from a forward that succeeded. Apart from `run`, so that no answer waits for it."""
        if outcome.error is None:
            self._speed.record(version, outcome.tokens, outcome.seconds)
