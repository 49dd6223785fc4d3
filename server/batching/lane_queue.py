"""The waiting requests of one lane, and how a batch is filled from them in fair order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.batching import policy
from server.batching.callers import Callers

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.batching.contract import Lane
    from server.batching.pace import Pace
    from server.batching.request import Part, Request


class LaneQueue:
    """One lane.

    Attributes:
        texts: how many wait.
        tokens: how many of them.
        callers: whose they are.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.texts = 0
        self.tokens = 0
        self.callers = Callers()

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        self.callers.add(request)
        self.texts += request.waiting
        self.tokens += request.left

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        texts = request.waiting
        if texts:
            self.texts -= texts
            self.tokens -= request.left
            self.callers.leave(request)
            request.take(texts)
        return texts

    def take(self, now: float, pace: Pace, late: Callable[[Request], None]) -> tuple[int, list[Part]] | None:
        """Take the texts of the next batch, with their version; None if nothing waits."""
        horizon = pace.horizon(self._lane, self.tokens, now)
        first = self.callers.first(pace.quantum, horizon, late)
        if first is None:
            return None
        room = pace.turn(self._lane, first.version, now, first.parts)
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
        return first.version, parts
