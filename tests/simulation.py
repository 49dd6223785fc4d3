"""The scheduler on a simulated clock: the real lanes, limits and admission, and forwards that only take time.

For tests and benchmarks of what the policy does under load, in a fraction of the time and the same on every machine.
Threads, faults and the watchdog are left out.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from munjang.encoder.contract import Tokens
from munjang.encoder.sequence_packing import computed
from munjang.errors import TryLater
from munjang.testing import FakeEncoder
from munjang_server.scheduling.admission import Admission
from munjang_server.scheduling.api import Lane, Work
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.request_queue import Lanes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from munjang.encoder.contract import Encoder
    from munjang.settings import BatchSettings
    from munjang_server.scheduling.api import Encoded
    from munjang_server.scheduling.request import Batch


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

    A forward on one of several streams takes as long as all of them together would with all threads.

    Attributes:
        streams: how many forwards can run beside each other.
        width: in texts of so many tokens attention costs as much as all else; 0: attention costs nothing.
        on_end: is called with every call that ended; it may `add` calls.
        batches: everything that was run.
        dead_tokens: tokens of texts that were run although their call was not answered in time.
    """

    settings: BatchSettings
    start_seconds: float
    token_seconds: float
    streams: int = 1
    width: int = 0
    on_end: Callable[[Call], None] = lambda _: None
    batches: list[Batch] = field(default_factory=list)
    dead_tokens: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        """Put the parts together, with a measured speed as after the calibration."""
        self._latencies = Latencies(lambda: self.now)
        self._limits = BatchLimits(self.settings, self._latencies)
        self._admission = Admission(self.settings, self._latencies, self._limits)
        self.lanes = Lanes(self._limits, self._latencies, self.settings.bulk_share)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._running: list[tuple[Batch, float]] = []  # and when it ends
        self._calls: dict[Request, Call] = {}
        for tokens in (16, 64, 256, 1024) * 4:
            self._latencies.record(1, tokens, 16 * tokens, self.seconds(tokens, 16 * tokens))

    def seconds(self, tokens: float, squares: float = 0.0) -> float:
        """What a forward takes."""
        work = tokens + (squares / self.width if self.width else 0.0)
        return self.start_seconds + work * self.token_seconds

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
        work = Work(_Lease(call.version, FakeEncoder(streams=self.streams)), tokens, call.caller, call.lane, deadline)
        request = Request(work, _no_future(), self.now)
        request.lane = self._admission.lane(request)
        try:
            self._admission.check(request, self.lanes, self._busy(request.lane), self.now)
        except TryLater:
            self._end(call, "refused")
            return
        call.missing = len(call.lengths)
        self._calls[request] = call
        self.lanes.add(request)
        self._start()

    def _busy(self, lane: Lane) -> float:
        running = self._running
        if lane is Lane.INTERACTIVE and len(running) < self.streams:
            running = [(batch, end) for batch, end in running if batch.lane is Lane.INTERACTIVE]
        return min((end - self.now for _, end in running), default=0.0)

    def _start(self) -> None:
        while len(self._running) < self.streams:
            batch = self.lanes.take(self.now, [batch for batch, _ in self._running])
            for request, _ in self.lanes.late:
                request.ended = True
                self._end(self._calls.pop(request), "expired")
            self.lanes.late.clear()
            if batch is None:
                return
            self._run(batch)

    def _run(self, batch: Batch) -> None:
        run = batch, self.now + self._seconds(batch)
        self._running.append(run)
        self._at(run[1], lambda: self._finish(run))

    def _seconds(self, batch: Batch) -> float:
        return self.seconds(batch.share * computed(batch.lengths, packs=True), batch.share * batch.squares)

    def _finish(self, run: tuple[Batch, float]) -> None:
        self._running.remove(run)
        batch = run[0]
        self.batches.append(batch)
        share = batch.share
        self._latencies.record(batch.version, share * batch.size, share * batch.squares, self._seconds(batch))
        for part in batch.parts:
            call = self._calls.get(part.request)
            late = part.request.ended or part.request.expired(self.now)
            self.dead_tokens += part.tokens if late else 0
            if call is None:
                continue
            call.missing -= len(part.indices)
            if call.missing == 0:
                part.request.ended = True
                self._end(self._calls.pop(part.request), "late" if late else "answered")
        self._start()

    def _end(self, call: Call, outcome: str) -> None:
        call.ended, call.outcome = self.now, outcome
        self.on_end(call)


def _no_future() -> asyncio.Future[Encoded]:
    """Nobody awaits a simulated answer."""
    return None  # type: ignore[return-value]  # never touched: the simulation has no `PendingRequests`
