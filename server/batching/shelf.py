"""A shelf: the waiting texts of one version and one length class, first come first served."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from server.batching.request import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.batching.request import Request


class Group:
    """Waiting texts of one request and length class, the next one last. Empty when all are taken or dropped."""

    __slots__ = ("indices", "request", "shelf")

    def __init__(self, request: Request, shelf: Shelf) -> None:
        self.request = request
        self.shelf = shelf
        self.indices: list[int] = []

    def waits(self, horizon: float, late: Callable[[Request], None]) -> bool:
        """Whether it has texts that can still be answered in time.

        A request whose deadline is at or before the horizon is given to `late`, which must empty its groups.
        """
        if self.indices and self.request.expired(horizon):
            late(self.request)
        return bool(self.indices)


class Shelf:
    """Groups in the order of their coming. Empty ones stay until the front reaches them, or `sweep`.

    Attributes:
        texts: how many texts wait here.
    """

    __slots__ = ("_groups", "texts")

    def __init__(self) -> None:
        self._groups: deque[Group] = deque()
        self.texts = 0

    def add(self, group: Group) -> None:
        """Put a group behind the others."""
        self.texts += len(group.indices)
        self._groups.append(group)

    def drop(self, group: Group) -> None:
        """Empty a group."""
        self.texts -= len(group.indices)
        group.indices = []

    def sweep(self) -> None:
        """Forget the empty groups."""
        self._groups = deque(group for group in self._groups if group.indices)

    def lengths(self, first: Group | None, horizon: float, late: Callable[[Request], None]) -> Iterator[int]:
        """The lengths of the waiting texts, in the order in which `take` would take them."""
        for group in self._in_order(first):
            if group.waits(horizon, late):
                for index in reversed(group.indices):
                    yield group.request.lengths[index]

    def take(self, texts: int, first: Group | None) -> list[Part]:
        """Take so many texts, those of group `first` before the others; there must be as many."""
        self.texts -= texts
        parts: list[Part] = []
        for group in self._in_order(first):
            if not texts:
                break
            picked = group.indices[-texts:]
            if picked:
                del group.indices[-texts:]
                texts -= len(picked)
                parts.append(Part(group.request, picked[::-1]))
        while self._groups and not self._groups[0].indices:
            self._groups.popleft()
        return parts

    def _in_order(self, first: Group | None) -> Iterator[Group]:
        if first is None:
            return iter(self._groups)
        return chain((first,), (group for group in self._groups if group is not first))
