"""The waiting texts of one lane, in fair order among callers.

Fair order is self-clocked fair queueing (Golestani 1994): a request is due at the caller's previous due, or the lane's
virtual time if that is later, plus its own tokens; the virtual time is the earliest due that waits. So a caller who
sends little is soon due however much another has queued, of two callers who send much each gets half, and a request
stays together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.batching import policy
from server.batching.shelf import Group, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.batching.contract import Lane
    from server.batching.pace import Pace
    from server.batching.policy import Head
    from server.batching.request import Part, Request

_PRUNE = 1024  # callers and empty groups that may lie about before they are looked through


class LaneQueue:
    """One lane.

    Attributes:
        texts: how many wait.
        tokens: their real tokens.
        callers: waiting tokens by caller, of those who wait.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.texts = 0
        self.tokens = 0
        self.callers: dict[str, int] = {}
        self._shelves: dict[int, dict[int, Shelf]] = {}
        self._due: dict[str, float] = {}
        self._virtual = 0.0
        self._serial = 0
        self._prune_at = _PRUNE
        self._empty_groups = 0

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        caller = request.work.caller
        self._serial += 1
        due = max(self._virtual, self._due.get(caller, 0.0)) + request.size
        self._due[caller] = due
        request.order = (due, self._serial)
        for group in self._grouped(request):
            group.shelf.add(group)
        self._count(caller, len(request.lengths), request.size)
        self._tidy()

    def _grouped(self, request: Request) -> list[Group]:
        """Sort the texts of a request into groups by length class."""
        shelves = self._shelves.setdefault(request.version, {})
        groups: dict[int, Group] = {}
        for index, length in enumerate(request.lengths):
            kind = policy.length_class(length)
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = Group(request, shelves.setdefault(kind, Shelf()))
            group.indices.append(index)
        request.groups = list(groups.values())
        return request.groups

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        texts = tokens = 0
        for group in request.groups:
            texts += len(group.indices)
            tokens += sum(request.lengths[index] for index in group.indices)
            self._empty_groups += bool(group.indices)
            group.shelf.drop(group)
        request.groups = []
        if texts:
            self._count(request.work.caller, -texts, -tokens)
        return texts

    def take(self, now: float, pace: Pace, late: Callable[[Request], None]) -> tuple[int, list[Part]] | None:
        """Take the texts of the next batch, with their version; None if nothing waits."""
        horizon = pace.horizon(now)
        fronts = list(self._fronts(horizon, late))
        if not fronts:
            return None
        heads = [head for _, _, head in fronts]
        self._virtual = max(self._virtual, min(head.order[0] for head in heads))
        version, first, _ = fronts[policy.anchor(heads, now, pace.age, pace.limits(self._lane, None, now))]
        shelves = [shelf for other, shelf, _ in fronts if other == version]
        lengths = [_Lengths(shelf, horizon, late) for shelf in shelves]
        counts = policy.form(lengths, shelves.index(first), pace.limits(self._lane, version, now))
        parts = [part for shelf, texts in zip(shelves, counts, strict=True) for part in shelf.take(texts)]
        for part in parts:
            self._count(part.request.work.caller, -len(part.indices), -part.tokens)
        return version, parts

    def _fronts(self, horizon: float, late: Callable[[Request], None]) -> Iterator[tuple[int, Shelf, Head]]:
        """Every shelf with texts, ascending by length within a version; empty shelves are removed."""
        for version, shelves in list(self._shelves.items()):
            for length_class in sorted(shelves):
                shelf = shelves[length_class]
                head = shelf.head(horizon, late)
                if head is None:
                    del shelves[length_class]
                else:
                    yield version, shelf, head
            if not shelves:
                del self._shelves[version]

    def _count(self, caller: str, texts: int, tokens: int) -> None:
        self.texts += texts
        self.tokens += tokens
        left = self.callers.get(caller, 0) + tokens
        if left:
            self.callers[caller] = left
        else:
            self.callers.pop(caller, None)

    def _tidy(self) -> None:
        """Forget callers whose turn is past, and empty groups that the front will not reach soon.

        Done while adding, in constant time a request on average, so that callers who come and leave cost no memory.
        """
        if len(self._due) >= self._prune_at:
            self._due = {caller: due for caller, due in self._due.items() if due > self._virtual}
            self._prune_at = 2 * len(self._due) + _PRUNE
        if self._empty_groups > _PRUNE + self.texts:
            self._empty_groups = 0
            for shelves in self._shelves.values():
                for shelf in shelves.values():
                    shelf.sweep()


class _Lengths:
    """The lengths on a shelf, readable more than once, as `policy.form` wants them."""

    def __init__(self, shelf: Shelf, horizon: float, late: Callable[[Request], None]) -> None:
        self._shelf = shelf
        self._horizon = horizon
        self._late = late

    def __iter__(self) -> Iterator[int]:
        return self._shelf.lengths(self._horizon, self._late)
