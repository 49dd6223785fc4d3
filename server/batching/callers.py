"""Who is served next: fairness among the callers of one lane.

A caller is served first come, first served, unless it is ahead of others: it may be ahead of its fair share by a
quantum, past that those who are less ahead go first. How far it is ahead is told by a virtual time, which runs as fast
as each of the callers who wait is served on average (as in fair queueing, Demers, Keshav and Shenker 1989). So callers
who send no more than their share do not notice that another has queued much; those who send more take turns, a batch
each; and nobody gains by having been away.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.batching.request import Request
    from server.batching.shelf import Group

_PRUNE = 1024  # callers who are away and were served that are remembered at least


class Caller:
    """One caller's account.

    Attributes:
        tokens: how many wait.
        served: the virtual time up to which it was served.
        groups: what waits, in the order of its coming, among empty groups.
    """

    __slots__ = ("groups", "served", "tokens")

    def __init__(self, served: float) -> None:
        self.tokens = 0
        self.served = served
        self.groups: deque[Group] = deque()


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
        """Let the groups of a request wait."""
        name = request.work.caller
        caller = self._waiting.get(name)
        if caller is None:
            caller = self._waiting[name] = Caller(max(self._now, self._away.pop(name, 0.0)))
        caller.tokens += request.size
        caller.groups.extend(request.groups)

    def remove(self, name: str, tokens: int) -> None:
        """So many tokens of a caller do not wait any more."""
        caller = self._waiting[name]
        caller.tokens -= tokens
        if not caller.tokens:
            del self._waiting[name]
            if caller.served > self._now:
                self._remember(name, caller.served)

    def serve(self, tokens: dict[str, int]) -> None:
        """So many tokens of each caller are served: keep the accounts and let virtual time run."""
        average = sum(tokens.values()) / len(self._waiting)
        for name, served in tokens.items():
            self._waiting[name].served += served
        self._now += average
        for name, served in tokens.items():
            self.remove(name, served)

    def next(self, quantum: int, horizon: float, late: Callable[[Request], None]) -> Group | None:
        """The group to serve first; None if nothing waits."""
        chosen, least = None, (float("inf"), float("inf"))
        for caller in list(self._waiting.values()):
            group = _front(caller, horizon, late)
            if group is not None:
                rank = (max(self._now, caller.served - quantum), group.request.serial)
                if rank < least:
                    chosen, least = group, rank
        self._now = max(self._now, least[0]) if chosen is not None else self._now
        return chosen

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

    def sweep(self) -> None:
        """Forget the empty groups."""
        for caller in self._waiting.values():
            caller.groups = deque(group for group in caller.groups if group.indices)

    def _turn(self, name: str, quantum: int) -> float:
        """The virtual time at which the next text of this caller will have its turn."""
        caller = self._waiting.get(name)
        served = self._away.get(name, 0.0) if caller is None else caller.served + caller.tokens
        return max(self._now, served - quantum)

    def _remember(self, name: str, served: float) -> None:
        self._away[name] = served
        if len(self._away) >= self._prune_at:
            self._away = {other: until for other, until in self._away.items() if until > self._now}
            self._prune_at = 2 * len(self._away) + _PRUNE


def _front(caller: Caller, horizon: float, late: Callable[[Request], None]) -> Group | None:
    groups = caller.groups
    while groups and not groups[0].waits(horizon, late):
        groups.popleft()
    return groups[0] if groups else None
