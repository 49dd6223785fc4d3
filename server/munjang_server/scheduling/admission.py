"""Decides whether a request may wait: is there room for it, and can it be answered before its deadline?

Runs nothing and changes nothing. An admitted request is answered in time unless the engine becomes slower; a refused
one costs no forward.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from munjang.errors import DeadlineUnreachable, Overloaded
from munjang_server.scheduling.api import Lane

if TYPE_CHECKING:
    from munjang.settings import BatchSettings
    from munjang_server.scheduling.latency_model import BatchLimits, Latencies
    from munjang_server.scheduling.request import Request
    from munjang_server.scheduling.request_queue import Lanes

_ALONE, _BEHIND = 0.85, 0.7  # of the time to the deadline that a plan may use: in an idle lane, and behind others
_SOONEST, _LATEST = 0.05, 30.0  # bounds of retry_after, seconds
_MOMENT = 128  # tokens that never count as bulk, however slow the model: about a question


class Admission:
    """Judges requests by what waits and by the latency model."""

    def __init__(self, settings: BatchSettings, latencies: Latencies, limits: BatchLimits) -> None:
        self._limit = settings.queue_tokens
        self._bulk_share = settings.bulk_share
        self._interactive_seconds = settings.interactive_seconds
        self._latencies = latencies
        self._limits = limits

    def lane(self, request: Request) -> Lane:
        """The lane of a request: the one it asks for, but bulk if its forwards are expected to take long."""
        if request.lane is Lane.INTERACTIVE and request.size > _MOMENT:
            seconds = self._latencies.of(request.version).usual_seconds(request.size, request.squares)
            return Lane.BULK if seconds > self._interactive_seconds else Lane.INTERACTIVE
        return request.lane

    def check(self, request: Request, lanes: Lanes, busy: float, now: float, *, at_least: bool = False) -> None:
        """Refuse what there is no room or no time for.

        Args:
            request: what wants to wait, or the least that it can be.
            lanes: what waits already.
            busy: seconds until a runner is free for its lane.
            now: the time.
            at_least: whether it is the least that the request can be, which the message says.

        Raises:
            Overloaded: no room.
            DeadlineUnreachable: no time.
        """
        size = f"at least {request.size} tokens" if at_least else f"{request.size} tokens"
        self._check_room(request, lanes, size)
        if request.work.deadline is not None:
            self._check_time(request, lanes, busy, request.work.deadline - now, size)

    def _check_room(self, request: Request, lanes: Lanes, size: str) -> None:
        """A caller may hold as much of the queue as is still free.

        So one greedy caller gets half, two get a third each, and there is always room for another. A request larger
        than half of the queue counts as half, so that it can be admitted at all.
        """
        own = lanes.lanes[request.lane].callers.tokens(request.work.caller)
        asked = min(request.size, self._limit // 2)
        missing = own + asked - (self._limit - lanes.tokens)
        if missing > 0:
            batch = self._batch(request)
            seconds = _bounded(math.ceil(missing / batch) * self._latencies.of(request.version).seconds(batch))
            msg = (
                f"the queue has no room for {size}: {lanes.tokens} of {self._limit} wait, "
                f"{own} of them this caller's; try again in {seconds:.2f} s"
            )
            raise Overloaded(msg, retry_after=seconds)

    def _check_time(self, request: Request, lanes: Lanes, busy: float, left: float, size: str) -> None:
        batch, queue = self._batch(request), lanes.lanes[request.lane]
        before: float = queue.tokens
        if before > batch:
            before = queue.callers.ahead(request, self._limits.quantum)
        if request.lane is Lane.BULK:
            before += lanes.lanes[Lane.INTERACTIVE].tokens
        needed = busy + self._run_seconds(request, before, batch) / self._lane_speed(request, lanes)
        late = needed - (_BEHIND if before else _ALONE) * left
        if late > 0:
            msg = (
                f"{size} would take {needed:.2f} s behind what waits, "
                f"and the deadline is in {left:.2f} s; try again in {_bounded(late):.2f} s or allow more time"
            )
            raise DeadlineUnreachable(msg, retry_after=_bounded(late))

    def _run_seconds(self, request: Request, before: float, batch: int) -> float:
        """Seconds of the forwards of a request and of the tokens that are served before it, in batches of so many."""
        model = self._latencies.of(request.version)
        if not before and request.size <= batch:
            return model.seconds(request.size, request.squares)
        batches = math.ceil((before + request.size) / batch)  # others may join a batch behind others
        attention = model.seconds(request.size, request.squares) - model.seconds(request.size)
        return batches * model.seconds(batch) + max(0.0, attention)

    def _lane_speed(self, request: Request, lanes: Lanes) -> float:
        """The share of the engine that this lane gets, 0 to 1, as things are now."""
        if request.lane is Lane.INTERACTIVE:
            return max(1 - self._bulk_share, 0.01) if lanes.lanes[Lane.BULK].texts else 1.0
        budget = self._limits.budget.now
        full = budget / self._latencies.of(request.version).seconds(budget)
        free = 1 - lanes.interactive.rate(request.arrived) / full
        if request.streams > 1 and self._limits.interactive_expected(request.arrived):
            free = min(free, 1 - 1 / request.streams)  # one stream stays free for interactive calls
        return max(self._bulk_share, free, 0.01)

    def _batch(self, request: Request) -> int:
        """The most tokens of a batch that it is in."""
        return self._limits.tokens(request.lane, request.version, request.arrived, request.streams)


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SOONEST), _LATEST) if math.isfinite(seconds) else _LATEST
