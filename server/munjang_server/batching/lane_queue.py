"""The waiting requests of one lane, and how a batch is filled from them in fair order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang_server.batching import policy
from munjang_server.batching.callers import Callers
from munjang_server.batching.contract import Lane
from munjang_server.batching.request import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.batching.pace import Pace
    from munjang_server.batching.request import Part, Request


ENOUGH = 512
"""Tokens that are worth a forward beside others: fewer are as fast in the next one that has the processor alone."""


class LaneQueue:
    """One lane.

    Attributes:
        texts: how many wait.
        tokens: how many of them.
        callers: whose they are.
        streams: how many forwards of the model that was asked for last can run beside each other.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.texts = 0
        self.tokens = 0
        self.callers = Callers()
        self.streams = 1

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        self.callers.add(request)
        self.streams = request.streams
        self.texts += request.waiting
        self.tokens += request.left

    @property
    def worth_sharing(self) -> bool:
        """Whether what waits is enough to run beside another batch."""
        return self.tokens >= ENOUGH

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        texts = request.waiting
        if texts:
            self.texts -= texts
            self.tokens -= request.left
            self.callers.leave(request)
            request.take(texts)
        return texts

    def take(self, now: float, pace: Pace, late: Callable[[Request], None], beside: int = 0) -> Batch | None:
        """Take the texts of the next batch; None if nothing waits. `beside`: so many others run.

        Where there is enough for several batches, each has a share of the processor, and what waits is shared out to
        those that do not run yet.
        """
        share = self.streams if self._crowded(beside) else 1
        most = max(ENOUGH, self.tokens // max(1, share - beside))
        horizon = pace.horizon(self._lane, min(self.tokens, most), now, share)
        first = self.callers.first(pace.quantum, horizon, late)
        if first is None:
            return None
        room = min(most, pace.turn(self._lane, first.version, now, first.parts, share))
        parts: list[Part] = []
        turn = self.callers.turn(first.version, pace.quantum)
        while (request := turn.next(horizon, late)) is not None:
            caller = request.work.caller
            texts = policy.fitting(request.lengths, request.next, room, turn.share(caller, room), alone=not parts)
            if not texts:
                break
            part = request.take(texts)
            parts.append(part)
            room -= part.tokens
            turn.took(caller, part.tokens)
            if not request.waiting:
                self.callers.leave(request)
        self.texts -= sum(len(part.indices) for part in parts)
        self.tokens -= sum(turn.taken.values())
        self.callers.serve(turn.taken)
        return Batch(first.version, self._lane, parts, share=share)

    def _crowded(self, beside: int) -> bool:
        """Whether the next batch is to leave room for others. Bulk leaves it by its pauses."""
        return self._lane is Lane.INTERACTIVE and (beside > 0 or self.tokens >= self.streams * ENOUGH)
