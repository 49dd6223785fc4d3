"""The batcher's decisions on a simulated clock: the real queue, pace and admission, and an engine that only takes time.

For tests and benchmarks of what the policy does under load, in a fraction of the time and the same on every machine.
Threads, faults and the watchdog are left out.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from munjang.encoder.contract import Tokens
from munjang.encoder.layout import SHORT, computed
from munjang.errors import TryLater
from munjang.testing import FakeEncoder
from munjang_server.batching.admission import Admission
from munjang_server.batching.contract import Lane, Work
from munjang_server.batching.pace import Pace
from munjang_server.batching.queue import Queue
from munjang_server.batching.request import Request
from munjang_server.batching.speed import SpeedMeter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from munjang.encoder.contract import Encoder
    from munjang.settings import BatchSettings
    from munjang_server.batching.contract import Encoded
    from munjang_server.batching.request import Batch


@dataclass(frozen=True)
class _Lease:
    """A lease on nothing."""

    version: int
    encoder: Encoder

    def share(self) -> _Lease:
        return self

    def release(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@dataclass
class Call:
    """One simulated call, and how it went. Times are simulated seconds; `ended` is None while it waits.

    `outcome` is "answered", "late" (answered after its deadline), "expired" (never run) or "refused".
    """

    at: float
    lengths: Sequence[int]
    caller: str = ""
    lane: Lane = Lane.INTERACTIVE
    patience: float | None = None
    version: int = 1
    ended: float | None = None
    outcome: str = ""
    missing: int = 0

    @property
    def latency(self) -> float:
        """Seconds from call to answer."""
        return (self.ended if self.ended is not None else float("inf")) - self.at


@dataclass
class Simulation:
    """An engine whose forwards take `start_seconds` and `token_seconds` for each token, padding included.

    Attributes:
        parts: between as many a bulk forward pauses for interactive calls, unless it is short.
        on_end: is called with every call that ended; it may `add` calls.
        batches: everything that was run.
        dead_tokens: tokens of texts that were run although their call was not answered in time.
    """

    settings: BatchSettings
    start_seconds: float
    token_seconds: float
    parts: int = 1
    on_end: Callable[[Call], None] = lambda _: None
    batches: list[Batch] = field(default_factory=list)
    dead_tokens: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        """Put the parts together, with a measured speed as after the calibration."""
        self._speed = SpeedMeter()
        self._pace = Pace(self.settings, self._speed)
        self._admission = Admission(self.settings, self._speed, self._pace)
        self.queue = Queue(self._pace, self.settings.bulk_share)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._free_at = 0.0
        self._paused: tuple[Batch, int] | None = None  # and how many of its parts are left
        self._calls: dict[Request, Call] = {}
        for tokens in (16, 1024):
            self._speed.record(1, tokens, self.seconds(tokens))

    def seconds(self, tokens: int) -> float:
        """What a forward takes."""
        return self.start_seconds + tokens * self.token_seconds

    def add(self, call: Call) -> None:
        """Let a call arrive at its time."""
        self._at(call.at, lambda: self._arrive(call))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        self.now = until

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serial), happen))

    def _arrive(self, call: Call) -> None:
        tokens = [Tokens((0,) * length) for length in call.lengths]
        deadline = None if call.patience is None else call.at + call.patience
        work = Work(_Lease(call.version, FakeEncoder(parts=self.parts)), tokens, call.caller, call.lane, deadline)
        request = Request(work, _no_future(), self.now)
        try:
            self._admission.check(request, self.queue, self._busy(call.lane), self.now)
        except TryLater:
            self._end(call, "refused")
            return
        call.missing = len(call.lengths)
        self._calls[request] = call
        self.queue.add(request)
        self._start()

    def _busy(self, lane: Lane) -> float:
        left = max(0.0, self._free_at - self.now)
        if lane is Lane.BULK and self._paused is not None:
            left += self._seconds(self._paused[0]) * self._paused[1] / self.parts
        return left

    def _start(self) -> None:
        if self.now < self._free_at:
            return
        batch = self.queue.take(self.now) if self._paused is None else self.queue.take_interactive(self.now)
        for request, _ in self.queue.late:
            request.ended = True
            self._end(self._calls.pop(request), "expired", request)
        self.queue.late.clear()
        if batch is not None:
            whole = batch.lane is Lane.INTERACTIVE or batch.size <= SHORT
            self._run(batch, 1 if whole else self.parts, 1 if whole else self.parts)
        elif self._paused is not None:
            paused, left = self._paused
            self._run(paused, left, self.parts)

    def _run(self, batch: Batch, left: int, parts: int) -> None:
        """Run the next part of a batch, of which so many are left."""
        self._free_at = self.now + self._seconds(batch) / parts
        if parts > 1:
            self._paused = (batch, left - 1) if left > 1 else None
        self._at(self._free_at, self._start if left > 1 else lambda: self._finish(batch))

    def _seconds(self, batch: Batch) -> float:
        return self.seconds(computed(batch.lengths, packs=True))

    def _finish(self, batch: Batch) -> None:
        self.batches.append(batch)
        self._speed.record(batch.version, batch.size, self._seconds(batch))
        for part in batch.parts:
            call = self._calls.get(part.request)
            late = part.request.ended or part.request.expired(self.now)
            self.dead_tokens += part.tokens if late else 0
            if call is None:
                continue
            call.missing -= len(part.indices)
            if call.missing == 0:
                part.request.ended = True
                self._end(self._calls.pop(part.request), "late" if late else "answered", part.request)
        self._start()

    def _end(self, call: Call, outcome: str, request: Request | None = None) -> None:
        if request is not None:
            self._admission.learn(request, self.now)
        call.ended, call.outcome = self.now, outcome
        self.on_end(call)


def _no_future() -> asyncio.Future[Encoded]:
    """Nobody awaits a simulated answer."""
    return None  # type: ignore[return-value]  # never touched: the simulation has no `Answers`
