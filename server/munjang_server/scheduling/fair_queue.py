"""Fairness among the callers of one lane, and how a batch is filled in fair order.

Callers are served first come, first served, as long as none is ahead of its fair share by more than a quantum; beyond
that, those who are less ahead go first. A virtual time measures how far a caller is ahead; it runs at the average rate
at which the waiting callers are served (fair queueing: Demers, Keshav and Shenker 1989). So callers who send no more
than their share do not notice that another caller has queued much. Those who send more take turns, a batch each, and
being idle earns no advantage. Lengths do not matter: texts of any lengths share a forward with little padding
(`munjang.encoder.sequence_packing`), so no text is overtaken because of its length.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING

from munjang_server.scheduling.api import Lane
from munjang_server.scheduling.request import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from munjang_server.scheduling.latency_model import BatchLimits
    from munjang_server.scheduling.request import Part, Request

ENOUGH = 512
"""Tokens that are worth a forward of their own beside others: fewer are as fast in the next one with all threads."""

_PRUNE = 1024  # the least number of absent callers to remember


class Caller:
    """One caller's account.

    Attributes:
        tokens: how many wait.
        served: the virtual time up to which it was served.
        lines: the requests that wait, by version, each in order of arrival.
    """

    __slots__ = ("lines", "served", "tokens")

    def __init__(self, served: float) -> None:
        self.tokens = 0
        self.served = served
        self.lines: dict[int, OrderedDict[Request, None]] = {}

    def front(self, version: int, when: float, late: Callable[[Request], None]) -> Request | None:
        """The first request of a version that can be answered in time; others go to `late`, which must drop them."""
        while (line := self.lines.get(version)) is not None:
            request = next(iter(line))
            if not request.expired(when):
                return request
            late(request)
        return None


class FairQueue:
    """The waiting requests of one lane, by caller and version, and what each caller has had. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[str, Caller] = {}
        self._absent: dict[str, float] = {}
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
            caller = self._waiting[name] = Caller(max(self._now, self._absent.pop(name, 0.0)))
        caller.tokens += request.left
        caller.lines.setdefault(request.version, OrderedDict())[request] = None

    def leave(self, request: Request) -> None:
        """A request no longer waits: it is about to be dropped, or nothing is left of it."""
        caller = self._waiting[request.work.caller]
        line = caller.lines[request.version]
        del line[request]
        if not line:
            del caller.lines[request.version]
        self._remove(request.work.caller, request.left)

    def serve(self, tokens: dict[str, int]) -> None:
        """Tokens were taken, by caller: update the accounts and advance virtual time."""
        average = sum(tokens.values()) / len(self._waiting)
        for name, served in tokens.items():
            self._waiting[name].served += served
        self._now += average
        for name, served in tokens.items():
            self._remove(name, served)

    def first(self, quantum: int, when: float, late: Callable[[Request], None]) -> Request | None:
        """The request to serve first, whatever its version; None if nothing waits."""
        chosen, least = None, (float("inf"), float("inf"))
        for caller in list(self._waiting.values()):
            for version in list(caller.lines):
                request = caller.front(version, when, late)
                if request is not None:
                    rank = (max(self._now, caller.served - quantum), request.serial)
                    if rank < least:
                        chosen, least = request, rank
        self._now = max(self._now, least[0]) if chosen is not None else self._now
        return chosen

    def builder(self, version: int, quantum: int) -> BatchBuilder:
        """One batch of a version, to be filled in fair order."""
        return BatchBuilder(self._waiting, self._now, version, quantum)

    def ahead(self, request: Request, quantum: int) -> float:
        """How many tokens are likely to be served before the request, if it were added now.

        Those that wait and go first; or, if that is more, what is served until its caller is no longer ahead, for then
        others who come later go first.
        """
        name = request.work.caller
        turn = self._virtual_time(name, quantum)
        before = 0.0
        for other, caller in self._waiting.items():
            after = 0.0 if other == name else max(0.0, caller.served + caller.tokens - quantum - turn)
            before += max(0.0, caller.tokens - after)
        return max(before, (turn - self._now) * len(self._waiting))

    def _virtual_time(self, name: str, quantum: int) -> float:
        """The virtual time at which the next text of this caller will have its turn."""
        caller = self._waiting.get(name)
        served = self._absent.get(name, 0.0) if caller is None else caller.served + caller.tokens
        return max(self._now, served - quantum)

    def _remove(self, name: str, tokens: int) -> None:
        caller = self._waiting[name]
        caller.tokens -= tokens
        if not caller.tokens:
            del self._waiting[name]
            if caller.served > self._now:
                self._remember(name, caller.served)

    def _remember(self, name: str, served: float) -> None:
        self._absent[name] = served
        if len(self._absent) >= self._prune_at:
            self._absent = {other: until for other, until in self._absent.items() if until > self._now}
            self._prune_at = 2 * len(self._absent) + _PRUNE


class BatchBuilder:
    """The callers of one version in fair order, while a batch is filled from them.

    What is taken counts at once, so a batch does not go to one caller while others wait; nobody else sees it
    before `FairQueue.serve`.
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

    def next(self, when: float, late: Callable[[Request], None]) -> Request | None:
        """The request to take texts of now; None when nothing waits."""
        while self._heap:
            rank, serial, name = self._heap[0]
            caller = self._waiting.get(name)
            request = None if caller is None else caller.front(self._version, when, late)
            if request is None:
                heapq.heappop(self._heap)
            elif self._rank(name, request) != (rank, serial):
                heapq.heapreplace(self._heap, (*self._rank(name, request), name))
            else:
                return request
        return None

    def share(self, name: str, room: int) -> int:
        """How many tokens of `room` a caller may take at once: what it may be ahead of others, or an equal share."""
        return int(max(self._now - self._ahead(name), room / len(self._heap)))

    def took(self, name: str, tokens: int) -> None:
        """Count tokens of this caller as taken into the batch."""
        self._taken[name] = self._taken.get(name, 0) + tokens

    def _rank(self, name: str, request: Request) -> tuple[float, int]:
        return max(self._now, self._ahead(name)), request.serial

    def _ahead(self, name: str) -> float:
        return self._waiting[name].served + self._taken.get(name, 0) - self._quantum


def fitting(lengths: Sequence[int], first: int, room: int, share: int, *, alone: bool) -> int:
    """How many texts, starting at `first`, to take into a batch with room for `room` tokens.

    At most `share` tokens of them, but a first text that fits is taken whatever the share; and where the batch would be
    empty (`alone`), also one that does not fit.
    """
    texts = tokens = 0
    for place in range(first, len(lengths)):
        tokens += lengths[place]
        if tokens > (min(room, share) if texts else room) and (texts or not alone):
            break
        texts += 1
    return texts


class LaneQueue:
    """The waiting requests of one lane.

    Attributes:
        lane: which.
        texts: how many wait.
        tokens: how many of them.
        callers: whose they are.
        streams: how many forwards of the model that was asked for last can run beside each other.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.texts = 0
        self.tokens = 0
        self.callers = FairQueue()
        self.streams = 1

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        self.callers.add(request)
        self.streams = request.streams
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

    def take(
        self, now: float, limits: BatchLimits, late: Callable[[Request], None], share: int = 1, beside: int = 0
    ) -> Batch | None:
        """Take the texts of the next batch, all of one version; None if nothing waits.

        Args:
            now: the time.
            limits: how large it may be.
            late: is called with requests that cannot be answered in time, and must drop them.
            share: of so many forwards that run beside each other it is one.
            beside: so many of them run already. Interactive texts are divided evenly among the others.
        """
        most = self.tokens
        if share > 1 and self.lane is Lane.INTERACTIVE:
            most = max(ENOUGH, self.tokens // max(1, share - beside))
        end = limits.end(min(most, limits.tokens(self.lane, None, now, self.streams, share)), now, share)
        quantum = limits.quantum
        first = self.callers.first(quantum, end, late)
        if first is None:
            return None
        room = min(most, limits.tokens(self.lane, first.version, now, first.streams, share))
        parts: list[Part] = []
        builder = self.callers.builder(first.version, quantum)
        while (request := builder.next(end, late)) is not None:
            caller = request.work.caller
            texts = fitting(request.lengths, request.next, room, builder.share(caller, room), alone=not parts)
            if not texts:
                break
            part = request.take(texts)
            parts.append(part)
            room -= part.tokens
            builder.took(caller, part.tokens)
            if not request.waiting:
                self.callers.leave(request)
        self.texts -= sum(len(part.indices) for part in parts)
        self.tokens -= sum(builder.taken.values())
        self.callers.serve(builder.taken)
        return Batch(first.version, self.lane, parts, share=share)
