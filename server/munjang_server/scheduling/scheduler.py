"""The scheduler as the services use it: connects the parts and admits work.

```
              event loop                                    runner threads
 encode ─▶ Admission ─▶ RequestQueue (Lanes) ──────────────▶ RunnerPool ─▶ BatchExecutor ─▶ Encoder.forward
    ▲                        ▲   ▲ pieces of failed batches                     │
    └── PendingRequests ◀─┐  │   └──────────────────────────────────────────────┤
                  Health ◀┴──┼── LoopNotifier ◀─────────────────────────────────┘
                     ▲       │ probes
                     └── Watchdog
```
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from munjang.errors import EmptyText, EngineUnavailable, MunjangError, NoTexts, ShuttingDown
from munjang_server.scheduling.admission import Admission
from munjang_server.scheduling.api import GuardedObserver, Load, Observer
from munjang_server.scheduling.batch_executor import BatchExecutor
from munjang_server.scheduling.health import Health, LoopNotifier
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import PendingRequests, Request, expired
from munjang_server.scheduling.request_queue import Lanes, RequestQueue
from munjang_server.scheduling.runner_pool import RunnerPool
from munjang_server.scheduling.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.engine.contract import Lease
    from munjang.settings import BatchSettings
    from munjang_server.scheduling.api import Encoded, OnHealth, Work

_log = logging.getLogger(__name__)

_JOIN_SECONDS = 2.0


class Scheduler:
    """Implements `SchedulerContract`.

    Args:
        settings: budgets, bounds and shares.
        acquire: leases a version by name, as `EngineContract.acquire`; the watchdog's probe runs on "".
        observer: is told of every event.
        on_health: is called on the event loop when the engine turns healthy or not.
    """

    def __init__(
        self,
        settings: BatchSettings,
        acquire: Callable[[str], Lease],
        observer: Observer | None = None,
        on_health: OnHealth | None = None,
    ) -> None:
        self._observer = GuardedObserver(observer or Observer())
        self._latencies = Latencies()
        self._limits = BatchLimits(settings, self._latencies)
        self._admission = Admission(settings, self._latencies, self._limits)
        self._health = Health(on_health, self._observer)
        self._notifier = LoopNotifier(settings.probe_seconds, self._health)
        self._queue = RequestQueue(
            lambda: Lanes(self._limits, self._latencies, settings.bulk_share), self._notifier.expire
        )
        self._executor = BatchExecutor(
            self._latencies, self._limits, self._queue.put_pieces, self._notifier, self._observer
        )
        self._runners = RunnerPool(self._queue, self._executor, self._notifier, self._observer)
        self._pending = PendingRequests(self._queue.drop, self._observer)
        engine = (self._executor, self._queue, self._runners, self._latencies)
        self._watchdog = Watchdog(settings, engine, self._health, acquire, self._notifier.engine_stuck)
        self._refusal: Callable[[], MunjangError] | None = _not_started

    def start(self) -> None:
        """Start the runners and the watchdog, on the running event loop."""
        self._notifier.open(asyncio.get_running_loop(), self._pending, self._watchdog.probed)
        self._runners.at_least(1)
        self._watchdog.start()
        self._refusal = None

    async def drain(self, seconds: float) -> None:
        """Refuse new work with ShuttingDown and return when the admitted work is answered, or after `seconds`."""
        self._refusal = _shutting_down
        try:
            await asyncio.wait_for(self._pending.all_answered(), seconds)
        except TimeoutError:
            _log.warning("work was left after draining for %.1f s", seconds)

    def close(self) -> None:
        """Fail what is left with ShuttingDown and end all threads. May be called again."""
        self._refusal = _shutting_down
        self._watchdog.stop()
        self._queue.stop()
        self._pending.fail(_shutting_down)
        for running in self._executor.running:
            running.cancellation.cancel()
        if not self._runners.join(0.0 if self._health.stuck else _JOIN_SECONDS):
            _log.warning("a forward is still running; its thread ends with it or with the process")

    def check_hopeless(self, work: Work) -> None:
        """Refuse work before its texts are tokenised, if it would be refused were they as short as `work.tokens` are.

        Raises:
            Overloaded, DeadlineUnreachable, DeadlineExceeded, EngineUnavailable, ShuttingDown: as `encode` does.
        """
        outline = Request(work, asyncio.get_running_loop().create_future(), time.monotonic())
        try:
            self._check_open(outline)
            outline.lane = self._admission.lane(outline)
            busy = self._executor.busy_seconds(outline.lane, outline.streams)
            self._queue.look(lambda lanes: self._admission.check(outline, lanes, busy, outline.arrived, at_least=True))
        except MunjangError as error:
            self._observer.refused(error.reason, work.lane, len(work.tokens))
            raise

    async def encode(self, work: Work) -> Encoded:
        """Encode all texts of one request. Cancelling the coroutine takes its texts out of the queue.

        Raises:
            NoTexts, EmptyText: there is nothing to encode.
            Overloaded: the queue is full; `retry_after` says when there will be room.
            DeadlineUnreachable: the answer would come after the deadline; nothing was run.
            DeadlineExceeded: the deadline passed in the queue or during the forward.
            EngineUnavailable: the engine is stuck or failing.
            ShuttingDown: the server drains.
            InternalError: a defect of munjang; the log has the details.
        """
        loop = asyncio.get_running_loop()
        request = Request(work, loop.create_future(), time.monotonic())
        try:
            self._admit(request)
        except MunjangError as error:
            self._observer.refused(error.reason, work.lane, len(work.tokens))
            raise
        timer = None
        if work.deadline is not None:
            timer = loop.call_later(work.deadline - request.arrived, self._pending.expire_now, request)
        try:
            return await request.future
        finally:
            if timer is not None:
                timer.cancel()
            if not request.ended:
                self._pending.leave(request)

    def _check_open(self, request: Request) -> None:
        """Refuse a request if no work is admitted now, or if its deadline has passed."""
        if self._refusal is not None:
            raise self._refusal()
        trouble = self._health.why_not(request.version)
        if trouble:
            raise self._notifier.unavailable(trouble)
        if request.expired(request.arrived):
            raise expired()

    def _admit(self, request: Request) -> None:
        """Admit a request to the queue, or raise why not."""
        self._check_open(request)
        if not request.lengths:
            msg = "there are no texts to encode"
            raise NoTexts(msg, field="texts")
        if not all(request.lengths):
            index = request.lengths.index(0)
            msg = f"text {index} has no tokens"
            raise EmptyText(msg, field="texts", index=index)
        request.lane = self._admission.lane(request)
        busy = self._executor.busy_seconds(request.lane, request.streams)
        self._queue.put(request, lambda lanes: self._admission.check(request, lanes, busy, request.arrived))
        self._runners.at_least(request.streams)
        self._pending.add(request)

    @property
    def load(self) -> Load:
        """How busy the scheduler is now."""
        lanes = self._queue.lanes.lanes
        return Load(
            queued_tokens={name: lane.tokens for name, lane in lanes.items()},
            queued_texts={name: lane.texts for name, lane in lanes.items()},
            running_tokens=sum(one.tokens for one in self._executor.running),
            tokens_per_second=self._latencies.tokens_per_second(self._limits.budget.now),
            batch_tokens=self._limits.budget.now,
        )

    @property
    def healthy(self) -> bool:
        """Whether forwards succeed."""
        return self._health.healthy

    @property
    def ended(self) -> bool:
        """Whether no thread is left. False after `close` if a forward is stuck: then the process must exit hard."""
        return self._runners.ended


def _not_started() -> EngineUnavailable:
    return EngineUnavailable("the server is starting", retry_after=1.0)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the server is shutting down", retry_after=1.0)
