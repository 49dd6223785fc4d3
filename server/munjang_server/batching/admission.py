"""Whether a request may wait at all: is there room for it, and can it be answered before its deadline?

Runs nothing and changes nothing. An admitted request is answered in time unless the engine becomes slower; what is
refused costs no forward. What is held too slow even for an idle engine is tried now and then, see `doubt`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from munjang.errors import DeadlineUnreachable, Overloaded
from munjang_server.batching.contract import Lane
from munjang_server.batching.doubt import Doubt
from munjang_server.batching.patience import Patience

if TYPE_CHECKING:
    from munjang.settings import BatchSettings
    from munjang_server.batching.pace import Pace
    from munjang_server.batching.queue import Queue
    from munjang_server.batching.request import Request
    from munjang_server.batching.speed import SpeedMeter

_MARGIN = 0.85  # of the time to the deadline may be planned
_CLOSE = 0.25  # of the time allowed: what is expected to take less says nothing of those that decide
_SOONEST, _LATEST = 0.05, 30.0  # bounds of retry_after, seconds


class Admission:
    """Judges requests by what waits and by the measured speed."""

    def __init__(self, settings: BatchSettings, speed: SpeedMeter, pace: Pace) -> None:
        self._limit = settings.queue_tokens
        self._bulk_share = settings.bulk_share
        self._speed = speed
        self._pace = pace
        self._patience = Patience()
        self._doubt = Doubt(speed)

    def check(self, request: Request, queue: Queue, busy: float, now: float, *, least: bool = False) -> None:
        """Refuse what there is no room or no time for.

        Args:
            request: what is to wait, or the least that it can be.
            queue: what waits already.
            busy: seconds until the engine is free.
            now: the time.
            least: whether it is the least, and is looked at again when it is known.

        Raises:
            Overloaded: no room.
            DeadlineUnreachable: no time.
        """
        self._check_room(request, queue, least=least)
        deadline = request.work.deadline
        if deadline is not None:
            self._check_time(request, queue, busy, deadline - now, now, least=least)

    def learn(self, request: Request, now: float) -> None:
        """A request was answered or has expired: see how wrong the estimates are.

        Only those count for which it might have mattered: whose deadline was not far beyond the estimate.
        """
        deadline = request.work.deadline
        needed = request.estimate * self._patience.factor(now)
        if deadline is not None and needed > _CLOSE * (deadline - request.arrived):
            self._patience.learn(late=now - request.arrived > needed, now=now)

    def _check_room(self, request: Request, queue: Queue, *, least: bool) -> None:
        """A caller may hold as much of the queue as is still free.

        So one greedy caller gets half, two a third each, and there is always room for another. A request larger than
        half of the queue counts as half, so that it can be admitted at all.
        """
        own = queue.lanes[request.work.lane].callers.tokens(request.work.caller)
        asked = min(request.size, self._limit // 2)
        missing = own + asked - (self._limit - queue.tokens)
        if missing > 0:
            seconds = self._run_seconds(missing, request, self._turn(request), in_one=False)
            msg = (
                f"the queue has no room for {_size(request, least)}: {queue.tokens} of {self._limit} wait, "
                f"{own} of them this caller's; try again in {_bounded(seconds):.2f} s"
            )
            raise Overloaded(msg, retry_after=_bounded(seconds))

    def _check_time(self, request: Request, queue: Queue, busy: float, left: float, now: float, *, least: bool) -> None:
        lane = queue.lanes[request.work.lane]
        speed = self._lane_speed(request, queue, now)
        before = queue.lanes[Lane.INTERACTIVE].tokens if request.work.lane is Lane.BULK else 0
        tokens = before + lane.callers.ahead(request, self._pace.quantum)
        turn = self._turn(request)
        run = self._run_seconds(tokens + request.size, request, turn, in_one=tokens == 0) / speed
        request.estimate = busy + run
        needed = request.estimate * self._patience.factor(now)
        size = min(request.size, turn)
        if needed <= _MARGIN * left:
            request.trial = False
            if not least:
                self._doubt.admitted(request.version, size)
            return
        if request.trial or self._is_tried(request, turn, left, now):
            request.trial = True
            self._doubt.tried(request.version, size)
            return
        late = needed - _MARGIN * left
        msg = (
            f"{_size(request, least)} would take {needed:.2f} s behind what waits, "
            f"and the deadline is in {left:.2f} s; try again in {_bounded(late):.2f} s or allow more time"
        )
        raise DeadlineUnreachable(msg, retry_after=_bounded(late))

    def _is_tried(self, request: Request, turn: int, left: float, now: float) -> bool:
        """Whether this one is let in to see if it would still be too late, even were the engine idle."""
        alone = self._run_seconds(request.size, request, turn, in_one=True) * self._patience.factor(now)
        if not alone > _MARGIN * left > 0:
            return False
        return self._doubt.tries(request.version, min(request.size, turn), min(alone, left), now)

    def _lane_speed(self, request: Request, queue: Queue, now: float) -> float:
        """The share of the engine that this lane gets, 0 to 1, as things are now."""
        if request.work.lane is Lane.INTERACTIVE:
            return max(1 - self._bulk_share, 0.01) if queue.lanes[Lane.BULK].texts else 1.0
        budget = self._pace.budget.now
        full = budget / self._speed.curve(request.version).seconds(budget)
        return max(self._bulk_share, 1 - queue.interactive.rate(now) / full, 0.01)

    def _run_seconds(self, tokens: float, request: Request, turn: int, *, in_one: bool) -> float:
        """Seconds of the forwards of so many tokens; `in_one`: nobody else's texts may join the last of them."""
        curve = self._speed.curve(request.version)
        whole, rest = divmod(tokens, turn)
        return whole * curve.seconds(turn) + (curve.seconds(rest if in_one else turn) if rest else 0.0)

    def _turn(self, request: Request) -> int:
        """The most tokens of a batch that it is in."""
        return self._pace.turn(request.work.lane, request.version, request.arrived, request.parts)


def _size(request: Request, least: bool) -> str:
    return f"at least {request.size} tokens" if least else f"{request.size} tokens"


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SOONEST), _LATEST) if math.isfinite(seconds) else _LATEST
