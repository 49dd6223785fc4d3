"""Who is served next: fairness among the callers of one lane.

A caller is served first come, first served, unless it is ahead of others: it may be ahead of its fair share by a
quantum, past that those who are less ahead go first. How far it is ahead is told by a virtual time, which runs as fast
as each of the callers who wait is served on average (as in fair queueing, Demers, Keshav and Shenker 1989). So callers
who send no more than their share do not notice that another has queued much; those who send more take turns, a batch
each; and nobody gains by having been away.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.batching.request import Request

_PRUNE = 1024  # callers who are away and were served that are remembered at least


class Caller:
    """One caller's account.

    Attributes:
        tokens: how many wait.
        served: the virtual time up to which it was served.
        lines: the requests that wait, by version, each in the order of its coming.
    """

    __slots__ = ("lines", "served", "tokens")

    def __init__(self, served: float) -> None:
        self.tokens = 0
        self.served = served
        self.lines: dict[int, OrderedDict[Request, None]] = {}

    def front(self, version: int, horizon: float, late: Callable[[Request], None]) -> Request | None:
        """The first request of a version that can be answered in time; others go to `late`, which must drop them."""
        while (line := self.lines.get(version)) is not None:
            request = next(iter(line))
            if not request.expired(horizon):
                return request
            late(request)
        return None


class Callers:
    """The accounts of those who wait."""

    def __init__(self) -> None:
        self._waiting: dict[str, Caller] = {}
        self._away: dict[str, float] = {}
        self._now = 0.0
        self._prune_at = _PRUNE

    def tokens(self, name: str) -> int:
        """How many tokens of this caller wait."""
        caller = self._waiting.get(name)
        return 0 if caller is None else caller.tokens

    def add(self, request: Request) -> None:
        """Let a request wait."""
        name = request.work.caller
        caller = self._waiting.get(name)
        if caller is None:
            caller = self._waiting[name] = Caller(max(self._now, self._away.pop(name, 0.0)))
        caller.tokens += request.left
        caller.lines.setdefault(request.version, OrderedDict())[request] = None

    def leave(self, request: Request) -> None:
        """A request does not wait any more: it is about to be dropped, or nothing is left of it."""
        caller = self._waiting[request.work.caller]
        line = caller.lines[request.version]
        del line[request]
        if not line:
            del caller.lines[request.version]
        self._remove(request.work.caller, request.left)

    def serve(self, tokens: dict[str, int]) -> None:
        """So many tokens of each caller were taken: keep the accounts and let virtual time run."""
        average = sum(tokens.values()) / len(self._waiting)
        for name, served in tokens.items():
            self._waiting[name].served += served
        self._now += average
        for name, served in tokens.items():
            self._remove(name, served)

    def first(self, quantum: int, horizon: float, late: Callable[[Request], None]) -> Request | None:
        """The request to serve first, whatever its version; None if nothing waits."""
        chosen, least = None, (float("inf"), float("inf"))
        for caller in list(self._waiting.values()):
            for version in list(caller.lines):
                request = caller.front(version, horizon, late)
                if request is not None:
                    rank = (max(self._now, caller.served - quantum), request.serial)
                    if rank < least:
                        chosen, least = request, rank
        self._now = max(self._now, least[0]) if chosen is not None else self._now
        return chosen

    def turn(self, version: int, quantum: int) -> Turn:
        """One batch of a version, to be filled in fair order."""
        return Turn(self._waiting, self._now, version, quantum)

    def ahead(self, request: Request, quantum: int) -> float:
        """How many tokens are likely to be served before the request, were it added now.

        Those that wait and go first; or, if that is more, what is served until its caller is no longer ahead, for then
        others who come later go first.
        """
        name = request.work.caller
        turn = self._turn(name, quantum)
        before = 0.0
        for other, caller in self._waiting.items():
            after = 0.0 if other == name else max(0.0, caller.served + caller.tokens - quantum - turn)
            before += max(0.0, caller.tokens - after)
        return max(before, (turn - self._now) * len(self._waiting))

    def _turn(self, name: str, quantum: int) -> float:
        """The virtual time at which the next text of this caller will have its turn."""
        caller = self._waiting.get(name)
        served = self._away.get(name, 0.0) if caller is None else caller.served + caller.tokens
        return max(self._now, served - quantum)

    def _remove(self, name: str, tokens: int) -> None:
        caller = self._waiting[name]
        caller.tokens -= tokens
        if not caller.tokens:
            del self._waiting[name]
            if caller.served > self._now:
                self._remember(name, caller.served)

    def _remember(self, name: str, served: float) -> None:
        self._away[name] = served
        if len(self._away) >= self._prune_at:
            self._away = {other: until for other, until in self._away.items() if until > self._now}
            self._prune_at = 2 * len(self._away) + _PRUNE


class Turn:
    """The callers of one version in fair order, while a batch is filled from them.

    What is taken counts at once, so that a batch does not go to one caller where others wait; nobody else sees it
    before `Callers.serve`.
    """

    def __init__(self, waiting: dict[str, Caller], now: float, version: int, quantum: int) -> None:
        self._now, self._version, self._quantum = now, version, quantum
        self._taken: dict[str, int] = {}
        self._waiting = waiting
        self._heap = [
            (*self._rank(name, next(iter(caller.lines[version]))), name)
            for name, caller in waiting.items()
            if version in caller.lines
        ]
        heapq.heapify(self._heap)

    @property
    def taken(self) -> dict[str, int]:
        """Tokens taken, by caller."""
        return self._taken

    def next(self, horizon: float, late: Callable[[Request], None]) -> Request | None:
        """The request to take texts of now; None when nothing waits."""
        while self._heap:
            rank, serial, name = self._heap[0]
            caller = self._waiting.get(name)
            request = None if caller is None else caller.front(self._version, horizon, late)
            if request is None:
                heapq.heappop(self._heap)
            elif self._rank(name, request) != (rank, serial):
                heapq.heapreplace(self._heap, (*self._rank(name, request), name))
            else:
                return request
        return None

    def share(self, name: str, room: int) -> int:
        """How many tokens of `room` a caller may take at once: what it may be ahead of others, or an equal part."""
        return int(max(self._now - self._ahead(name), room / len(self._heap)))

    def took(self, name: str, tokens: int) -> None:
        """So many tokens of this caller are in the batch."""
        self._taken[name] = self._taken.get(name, 0) + tokens

    def _rank(self, name: str, request: Request) -> tuple[float, int]:
        return max(self._now, self._ahead(name)), request.serial

    def _ahead(self, name: str) -> float:
        return self._waiting[name].served + self._taken.get(name, 0) - self._quantum
