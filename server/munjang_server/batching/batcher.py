"""The batcher as the servicers use it: puts the parts together and lets work in.

```
           event loop                                   threads of the Crew
 encode ─▶ Admission ─▶ Inbox (Queue) ────────────────▶ Runner ─▶ Trial ─▶ Forward
    ▲                      ▲   ▲ pieces of failed batches            │
    └── Answers ◀───┐      │   └─────────────────────────────────────┤
         Health ◀── Desk ◀─┼─────────────────────────────────────────┘
            ▲              │ probes
            └── Watchdog ──┘
```
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from munjang.errors import EmptyText, EngineUnavailable, MunjangError, NoTexts, ShuttingDown
from munjang_server.batching.admission import Admission
from munjang_server.batching.answers import Answers, expired
from munjang_server.batching.contract import Load
from munjang_server.batching.crew import Crew
from munjang_server.batching.desk import Desk
from munjang_server.batching.forward import Forward
from munjang_server.batching.health import Health
from munjang_server.batching.inbox import Inbox
from munjang_server.batching.observer import Guarded, Observer
from munjang_server.batching.pace import Pace
from munjang_server.batching.queue import Queue
from munjang_server.batching.request import Request
from munjang_server.batching.runner import Runner
from munjang_server.batching.speed import SpeedMeter
from munjang_server.batching.trial import Trial
from munjang_server.batching.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from munjang.engine.contract import Lease
    from munjang.settings import BatchSettings
    from munjang_server.batching.contract import Encoded, OnHealth, Work

_log = logging.getLogger(__name__)

_JOIN_SECONDS = 2.0


class Batcher:
    """Implements `BatcherContract`.

    Args:
        settings: budgets, bounds and shares.
        acquire: leases a version by name, as `EngineContract.acquire`; the watchdog's probe runs on "".
        observer: hears of every event.
        on_health: is called on the event loop when the engine turns healthy or not.
    """

    def __init__(
        self,
        settings: BatchSettings,
        acquire: Callable[[str], Lease],
        observer: Observer | None = None,
        on_health: OnHealth | None = None,
    ) -> None:
        self._observer = Guarded(observer or Observer())
        self._speed = SpeedMeter()
        self._pace = Pace(settings, self._speed)
        self._desk = Desk(retry_after=settings.probe_seconds)
        self._inbox = Inbox(
            lambda: Queue(self._pace, settings.bulk_share),
            Admission(settings, self._speed, self._pace),
            self._desk.expire,
        )
        self._forward = Forward(self._speed)
        trial = Trial(self._forward, self._inbox, self._pace.budget, self._desk, self._observer)
        self._crew = Crew(partial(Runner, self._inbox, trial, self._desk, self._observer))
        self._answers = Answers(self._inbox, self._observer)
        self._health = Health(on_health, self._observer)
        engine = (self._forward, self._inbox, self._crew, self._speed)
        self._watchdog = Watchdog(settings, engine, self._health, acquire, self._desk.engine_stuck)
        self._refusal: Callable[[], MunjangError] | None = _not_started

    def start(self) -> None:
        """Start the engine and the watchdog, on the running event loop."""
        self._desk.open(asyncio.get_running_loop(), self._answers, self._health, self._watchdog)
        self._crew.at_least(1)
        self._watchdog.start()
        self._refusal = None

    async def drain(self, seconds: float) -> None:
        """Refuse new work with ShuttingDown and return when the admitted work is answered, or after `seconds`."""
        self._refusal = _shutting_down
        try:
            await asyncio.wait_for(self._answers.all_given(), seconds)
        except TimeoutError:
            _log.warning("work was left after draining for %.1f s", seconds)

    def close(self) -> None:
        """Fail what is left with ShuttingDown and end all threads. May be called again."""
        self._refusal = _shutting_down
        self._watchdog.stop()
        self._inbox.stop()
        self._answers.fail(_shutting_down)
        if not self._crew.join(0.0 if self._health.stuck else _JOIN_SECONDS):
            _log.warning("a forward is still running; its thread ends with it or with the process")

    def foresee(self, work: Work) -> bool:
        """Refuse work before its texts are tokenised, if it would be refused were they as short as `work.tokens` are.

        Returns whether it is to be a trial.

        Raises:
            Overloaded, DeadlineUnreachable, DeadlineExceeded, EngineUnavailable, ShuttingDown: as `encode` does.
        """
        outline = Request(work, asyncio.get_running_loop().create_future(), time.monotonic())
        with self._refusals(work):
            self._check_open(outline)
            self._inbox.foresee(outline, self._forward.busy_seconds(work.lane), outline.arrived)
        return outline.trial

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
        with self._refusals(work):
            self._admit(request)
        timer = None
        if work.deadline is not None:
            timer = loop.call_later(work.deadline - request.arrived, self._answers.expire_now, request)
        try:
            return await request.future
        finally:
            if timer is not None:
                timer.cancel()
            if not request.ended:
                self._answers.leave(request)

    @contextmanager
    def _refusals(self, work: Work) -> Iterator[None]:
        """Count what is refused."""
        try:
            yield
        except MunjangError as error:
            self._observer.refused(error.reason, work.lane, len(work.tokens))
            raise

    def _check_open(self, request: Request) -> None:
        """Refuse a request if no one is let in now, or it comes too late."""
        if self._refusal is not None:
            raise self._refusal()
        trouble = self._health.why_not(request.version)
        if trouble:
            raise self._desk.unavailable(trouble)
        if request.expired(request.arrived):
            raise expired()

    def _admit(self, request: Request) -> None:
        """Let a request wait, or say why not."""
        self._check_open(request)
        if not request.lengths:
            msg = "there are no texts to encode"
            raise NoTexts(msg, field="texts")
        if not all(request.lengths):
            index = request.lengths.index(0)
            msg = f"text {index} has no tokens"
            raise EmptyText(msg, field="texts", index=index)
        self._inbox.put(request, self._forward.busy_seconds(request.work.lane), request.arrived)
        self._crew.at_least(request.streams)
        self._answers.begin(request)

    @property
    def load(self) -> Load:
        """How busy the batcher is now."""
        lanes = self._inbox.queue.lanes
        return Load(
            queued_tokens={name: lane.tokens for name, lane in lanes.items()},
            queued_texts={name: lane.texts for name, lane in lanes.items()},
            running_tokens=sum(one.tokens for one in self._forward.running),
            tokens_per_second=self._speed.tokens_per_second(self._pace.budget.now),
            batch_tokens=self._pace.budget.now,
        )

    @property
    def healthy(self) -> bool:
        """Whether forwards succeed."""
        return self._health.healthy

    @property
    def ended(self) -> bool:
        """Whether no thread is left. False after `close` where a forward is stuck: then the process must exit hard."""
        return self._crew.ended


def _not_started() -> EngineUnavailable:
    return EngineUnavailable("the server is starting", retry_after=1.0)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the server is shutting down", retry_after=1.0)
