"""One admitted request and the batches that carry parts of it: plain state, changed by `queue` and `answers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from munjang_server.batching.contract import Encoded

if TYPE_CHECKING:
    import asyncio

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang.errors import MunjangError
    from munjang_server.batching.contract import Lane, Work
    from munjang_server.batching.queue import Queue


class Request:
    """A `Work` on its way.

    The event loop owns it: it alone ends requests and writes their rows. The engine's threads only read, and take texts
    under the inbox's lock.

    Attributes:
        lengths: tokens of each text.
        serial: when it came to its queue, counted.
        home: the queue that it waits in.
        next: the first text that waits; all behind it do.
        left: the tokens of those that wait.
        estimate: seconds that it was expected to take when it was admitted.
        trial: whether it was admitted though it was expected to be late, to see whether that is still so.
        ended: whether it has its answer, so that nobody waits for its texts any more.
    """

    __slots__ = (
        "_errors",
        "_forward_seconds",
        "_missing",
        "_rows",
        "_started",
        "arrived",
        "ended",
        "estimate",
        "future",
        "home",
        "left",
        "lengths",
        "next",
        "serial",
        "size",
        "trial",
        "version",
        "work",
    )

    def __init__(self, work: Work, future: asyncio.Future[Encoded], now: float) -> None:
        self.work = work
        self.future = future
        self.arrived = now
        self.version = work.lease.version
        self.lengths = list(map(len, work.tokens))
        self.size = sum(self.lengths)
        self.serial = 0
        self.home: Queue | None = None
        self.next = 0
        self.left = self.size
        self.estimate = 0.0
        self.trial = work.trial
        self.ended = False
        self._missing = len(self.lengths)
        self._rows: NDArray[np.float32] | None = None
        self._errors: dict[int, MunjangError] = {}
        self._started: float | None = None
        self._forward_seconds = 0.0

    def expired(self, horizon: float) -> bool:
        """Whether its deadline is at or before `horizon`, when an answer is expected; a trial is not judged by that."""
        deadline = self.work.deadline
        return deadline is not None and deadline <= horizon and not self.trial

    @property
    def parts(self) -> int:
        """Between how many parts a long forward of its version pauses."""
        return self.work.lease.encoder.parts

    @property
    def streams(self) -> int:
        """How many forwards of its version can run beside each other."""
        return self.work.lease.encoder.streams

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self.lengths) - self.next

    def take(self, texts: int) -> Part:
        """Let the next so many texts wait no more."""
        part = Part(self, list(range(self.next, self.next + texts)))
        self.next += texts
        self.left -= part.tokens
        return part

    def fill(self, indices: list[int], rows: NDArray[np.float32], started: float, seconds: float) -> bool:
        """Write float32 [len(indices), D] that a forward gave; True when nothing is missing any more."""
        if len(indices) == len(self.lengths):
            self._rows = rows
        else:
            if self._rows is None:
                self._rows = np.zeros((len(self.lengths), rows.shape[1]), np.float32)
            self._rows[indices] = rows
        return self._count(len(indices), started, seconds)

    def blame(self, index: int, error: MunjangError, started: float, seconds: float) -> bool:
        """Note that one text has no vector; True when nothing is missing any more."""
        self._errors[index] = error
        return self._count(1, started, seconds)

    def _count(self, texts: int, started: float, seconds: float) -> bool:
        if self._started is None:
            self._started = started
        self._forward_seconds += seconds
        self._missing -= texts
        return self._missing == 0

    def answer(self, dimensions: int) -> Encoded:
        """The whole answer; `dimensions` counts where no text has a vector."""
        rows = np.zeros((len(self.lengths), dimensions), np.float32) if self._rows is None else self._rows
        started = self.arrived if self._started is None else self._started
        return Encoded(rows, self._errors, max(0.0, started - self.arrived), self._forward_seconds)


@dataclass(frozen=True, slots=True)
class Part:
    """Some texts of one request, by index."""

    request: Request
    indices: list[int]

    @property
    def tokens(self) -> int:
        """How many tokens they have."""
        lengths = self.request.lengths
        return sum(lengths[index] for index in self.indices)


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one version and one lane that share a forward.

    Attributes:
        whole: whether it came from the queue, and is no piece of a failed batch.
        retries: how often it ran out of memory as it is.
        share: of so many forwards that run at a time this is one; 1: it has the processor alone.
    """

    version: int
    lane: Lane
    parts: list[Part]
    whole: bool = True
    retries: int = 0
    share: int = 1
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Line up the lengths in the order of the texts."""
        lengths = [part.request.lengths[index] for part in self.parts for index in part.indices]
        object.__setattr__(self, "lengths", lengths)

    @property
    def texts(self) -> int:
        """How many texts it has."""
        return len(self.lengths)

    @property
    def size(self) -> int:
        """How many tokens they have."""
        return sum(self.lengths)

    @property
    def lease(self) -> Lease:
        """The lease of one of its requests; a share of it must be taken while that is not ended."""
        return self.parts[0].request.work.lease

    def tokens(self) -> list[Tokens]:
        """What the forward reads."""
        return [part.request.work.tokens[index] for part in self.parts for index in part.indices]
