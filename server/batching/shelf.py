"""A shelf: the waiting texts of one version and one length class, in fair order."""

from __future__ import annotations

from bisect import insort
from operator import attrgetter
from typing import TYPE_CHECKING

from server.batching.policy import Head
from server.batching.request import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.batching.request import Request

_ORDER = attrgetter("order")


class Group:
    """The waiting texts of one request on one shelf, the next one last. Empty when all are taken or dropped."""

    __slots__ = ("indices", "order", "request", "shelf")

    def __init__(self, request: Request, shelf: Shelf) -> None:
        self.request = request
        self.order = request.order
        self.shelf = shelf
        self.indices: list[int] = []


class Shelf:
    """Groups in fair order. Empty groups stay in the list until the front reaches them, or `sweep`.

    `horizon` and `late` in its methods: a request whose deadline is at or before the horizon is not taken but given to
    `late`, which must empty its groups.

    Attributes:
        texts: how many texts wait here.
    """

    __slots__ = ("_groups", "texts")

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self.texts = 0

    def __len__(self) -> int:
        """Groups, empty ones included."""
        return len(self._groups)

    def add(self, group: Group) -> None:
        """Put a group in its place."""
        self.texts += len(group.indices)
        if self._groups and group.order < self._groups[-1].order:
            insort(self._groups, group, key=_ORDER)
        else:
            self._groups.append(group)

    def drop(self, group: Group) -> None:
        """Empty a group."""
        self.texts -= len(group.indices)
        group.indices = []

    def sweep(self) -> None:
        """Forget the empty groups."""
        self._groups = [group for group in self._groups if group.indices]

    def head(self, horizon: float, late: Callable[[Request], None]) -> Head | None:
        """The front, after clearing away what nobody waits for."""
        cleared = 0
        for group in self._groups:
            if _waits(group, horizon, late):
                break
            cleared += 1
        del self._groups[:cleared]
        if not self._groups:
            return None
        front = self._groups[0]
        return Head(front.order, front.request.arrived, self.texts, front.request.lengths[front.indices[-1]])

    def lengths(self, horizon: float, late: Callable[[Request], None]) -> Iterator[int]:
        """The lengths of the waiting texts, in the order in which `take` would take them."""
        for group in self._groups:
            if _waits(group, horizon, late):
                for index in reversed(group.indices):
                    yield group.request.lengths[index]

    def take(self, texts: int) -> list[Part]:
        """Take so many texts from the front; there must be as many."""
        parts: list[Part] = []
        done = 0
        self.texts -= texts
        while texts:
            group = self._groups[done]
            picked = group.indices[-texts:]
            if picked:
                del group.indices[-texts:]
                texts -= len(picked)
                parts.append(Part(group.request, picked[::-1]))
            if not group.indices:
                done += 1
        del self._groups[:done]
        return parts


def _waits(group: Group, horizon: float, late: Callable[[Request], None]) -> bool:
    if group.indices and group.request.expired(horizon):
        late(group.request)
    return bool(group.indices)
