"""The waiting texts of one lane: on shelves by version and length, and in the accounts of their callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.batching import policy
from server.batching.callers import Callers
from server.batching.shelf import Group, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.batching.contract import Lane
    from server.batching.pace import Pace
    from server.batching.request import Part, Request

_SWEEP = 1024  # dropped groups that may lie about before they are looked for


class LaneQueue:
    """One lane.

    Attributes:
        texts: how many wait.
        tokens: their real tokens.
        callers: whose they are.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.texts = 0
        self.tokens = 0
        self.callers = Callers()
        self._shelves: dict[int, dict[int, Shelf]] = {}
        self._dropped = 0

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        shelves = self._shelves.setdefault(request.version, {})
        lengths = request.lengths
        groups: dict[int, Group] = {}
        for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
            kind = policy.length_class(lengths[index])
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = Group(request, shelves.setdefault(kind, Shelf()))
            group.indices.append(index)
        request.groups = list(groups.values())
        for group in request.groups:
            group.shelf.add(group)
        self.callers.add(request)
        self.texts += len(lengths)
        self.tokens += request.size
        self._sweep()

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        texts = tokens = 0
        for group in request.groups:
            texts += len(group.indices)
            tokens += sum(request.lengths[index] for index in group.indices)
            group.shelf.drop(group)
        self._dropped += len(request.groups)
        request.groups = []
        if texts:
            self.texts -= texts
            self.tokens -= tokens
            self.callers.remove(request.work.caller, tokens)
        return texts

    def take(self, now: float, pace: Pace, late: Callable[[Request], None]) -> tuple[int, list[Part]] | None:
        """Take the texts of the next batch, with their version; None if nothing waits."""
        horizon = pace.horizon(self._lane, self.tokens, now)
        first = self.callers.next(pace.quantum, horizon, late)
        if first is None:
            return None
        version = first.request.version
        shelves = self._filled(version)
        start = shelves.index(first.shelf)
        lengths = [_Lengths(shelf, first if shelf is first.shelf else None, horizon, late) for shelf in shelves]
        counts = policy.form(lengths, start, pace.limits(self._lane, version, now))
        parts = [
            part
            for shelf, texts in zip(shelves, counts, strict=True)
            for part in shelf.take(texts, first if shelf is first.shelf else None)
        ]
        self._forget_empty(version)
        self._served(parts)
        return version, parts

    def _filled(self, version: int) -> list[Shelf]:
        """The shelves of a version that have texts, ascending by length."""
        shelves = self._shelves[version]
        return [shelves[kind] for kind in sorted(shelves) if shelves[kind].texts]

    def _forget_empty(self, version: int) -> None:
        shelves = self._shelves[version]
        for kind in [kind for kind, shelf in shelves.items() if not shelf.texts]:
            del shelves[kind]
        if not shelves:
            del self._shelves[version]

    def _served(self, parts: list[Part]) -> None:
        tokens: dict[str, int] = {}
        for part in parts:
            caller = part.request.work.caller
            tokens[caller] = tokens.get(caller, 0) + part.tokens
            self.texts -= len(part.indices)
        self.tokens -= sum(tokens.values())
        self.callers.serve(tokens)

    def _sweep(self) -> None:
        """Forget dropped groups, so that callers who leave cost no memory. Constant time a request on average."""
        if self._dropped > _SWEEP + self.texts:
            self._dropped = 0
            self.callers.sweep()
            for version in list(self._shelves):
                for shelf in self._shelves[version].values():
                    shelf.sweep()
                self._forget_empty(version)


class _Lengths:
    """The lengths on a shelf, readable more than once, as `policy.form` wants them."""

    def __init__(self, shelf: Shelf, first: Group | None, horizon: float, late: Callable[[Request], None]) -> None:
        self._shelf = shelf
        self._arguments = first, horizon, late

    def __iter__(self) -> Iterator[int]:
        return self._shelf.lengths(*self._arguments)
