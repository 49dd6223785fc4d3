"""One admitted request, the batches that carry parts of it, and its answer.

The event loop owns requests: only it ends them and writes their rows. Runner threads read them, and take texts while
they hold the request queue's lock.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from munjang.errors import DeadlineExceeded, InternalError, MunjangError
from munjang_server.scheduling.api import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang_server.scheduling.api import Lane, Observer, Work

_log = logging.getLogger(__name__)


class Request:
    """A `Work` on its way.

    Attributes:
        lane: the lane that it waits in.
        lengths: tokens of each text.
        size: their sum.
        squares: the sum of their squares.
        streams: how many forwards of its model can run beside each other.
        serial: when it came to its queue, counted; 0 before.
        queue: the number of the queue that it waits in; 0 before.
        next: the first text that waits; all behind it do.
        left: the tokens of those that wait.
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
        "future",
        "lane",
        "left",
        "lengths",
        "next",
        "queue",
        "serial",
        "size",
        "squares",
        "streams",
        "version",
        "work",
    )

    def __init__(self, work: Work, future: asyncio.Future[Encoded], now: float) -> None:
        self.work = work
        self.future = future
        self.arrived = now
        self.lane = work.lane
        self.version = work.lease.version
        self.streams = work.lease.encoder.streams
        self.lengths = list(map(len, work.tokens))
        self.size = sum(self.lengths)
        self.squares = sum(length * length for length in self.lengths)
        self.serial = self.queue = 0
        self.next = 0
        self.left = self.size
        self.ended = False
        self._missing = len(self.lengths)
        self._rows: NDArray[np.float32] | None = None
        self._errors: dict[int, MunjangError] = {}
        self._started: float | None = None
        self._forward_seconds = 0.0

    def expired(self, when: float) -> bool:
        """Whether its deadline is at or before `when`."""
        deadline = self.work.deadline
        return deadline is not None and deadline <= when

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self.lengths) - self.next

    def take(self, texts: int) -> Part:
        """Take the next `texts` texts out of the queue."""
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

    def fail_text(self, index: int, error: MunjangError, started: float, seconds: float) -> bool:
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
        return Encoded(rows, self._errors, max(0.0, started - self.arrived), self._forward_seconds, self.lane)


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
        share: how many forwards run at a time, this one included; 1: it has all threads.
    """

    version: int
    lane: Lane
    parts: list[Part]
    whole: bool = True
    retries: int = 0
    share: int = 1
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Put the lengths in the order of the texts."""
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
    def squares(self) -> int:
        """The sum of their squared lengths."""
        return sum(length * length for length in self.lengths)

    @property
    def streams(self) -> int:
        """How many forwards of its model can run beside each other."""
        return self.parts[0].request.streams

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for any of its texts."""
        return all(part.request.ended for part in self.parts)

    def tokens(self) -> list[Tokens]:
        """What the forward reads."""
        return [part.request.work.tokens[index] for part in self.parts for index in part.indices]

    def share_lease(self) -> Lease | None:
        """A lease for the forward; None if every caller has left by now.

        The event loop may end a request at any moment, and then its lease is given back. A request that has not ended
        after its lease was shared had not given it back before, so the share is good.
        """
        for request in (part.request for part in self.parts):
            if _ended(request):
                continue
            try:
                lease = request.work.lease.share()
            except Exception:
                if _ended(request):
                    continue
                raise
            if not _ended(request):
                return lease
            lease.release()
        return None

    def halves(self) -> list[Batch]:
        """Both halves of a batch of two or more texts, as pieces."""
        middle = self.texts // 2
        return [self.piece(range(middle)), self.piece(range(middle, self.texts))]

    def piece(self, positions: Iterable[int]) -> Batch:
        """The texts at these positions, ascending, as a batch of their own."""
        places = [(part.request, index) for part in self.parts for index in part.indices]
        parts: list[Part] = []
        for position in positions:
            request, index = places[position]
            if parts and parts[-1].request is request:
                parts[-1].indices.append(index)
            else:
                parts.append(Part(request, [index]))
        return Batch(self.version, self.lane, parts, whole=False)

    def again(self) -> Batch:
        """The same batch once more, as a piece."""
        return Batch(self.version, self.lane, self.parts, whole=False, retries=self.retries + 1)

    def living(self) -> Batch | None:
        """The same without texts that nobody waits for any more; None if there are no others."""
        if not any(part.request.ended for part in self.parts):
            return self
        parts = [part for part in self.parts if not part.request.ended]
        return Batch(self.version, self.lane, parts, self.whole, self.retries) if parts else None


def _ended(request: Request) -> bool:
    """Read again each time, because the event loop may end a request at any moment."""
    return request.ended


@dataclass(frozen=True, slots=True)
class Probe:
    """A forward of a known good text, to see whether the engine works.

    Attributes:
        lease: on the version to try; the runner of the probe releases it.
        calibrate: also measure larger forwards, because this version's speed is not known.
    """

    lease: Lease
    calibrate: bool = False


class PendingRequests:
    """Every request that was admitted and has no answer yet. Each gets exactly one. For the event loop alone.

    Args:
        drop: takes the waiting texts of a request out of the queue and returns how many there were.
        observer: is told of what was not run.
    """

    def __init__(self, drop: Callable[[Request], int], observer: Observer) -> None:
        self._drop = drop
        self._observer = observer
        self._pending: set[Request] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, request: Request) -> None:
        """Await an answer for this request from now on."""
        self._pending.add(request)
        self._idle.clear()

    async def all_answered(self) -> None:
        """Return when no request is without an answer."""
        await self._idle.wait()

    def settle(self, batch: Batch, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        """Deliver the rows float32 [texts, D] of a forward that began at `started` and took `seconds`."""
        begin = abandoned = 0
        for part in batch.parts:
            end = begin + len(part.indices)
            if part.request.ended:
                abandoned += part.tokens
            else:
                self._fill(part, rows[begin:end], started, seconds)
            begin = end
        if abandoned:
            self._observer.abandoned(batch.version, abandoned)

    def _fill(self, part: Part, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        try:
            if part.request.fill(part.indices, rows, started, seconds):
                self._end(part.request, part.request.answer(rows.shape[1]))
        except Exception:  # noqa: BLE001 - whatever is wrong with one answer, the others must be given
            _log.exception("an answer could not be put together")
            self._end(part.request, InternalError("the vectors could not be put together"))

    def fail_texts(self, batch: Batch, error: Callable[[int], MunjangError], started: float, seconds: float) -> None:
        """Give each text of a batch an error of its own, made from its index."""
        for part in batch.parts:
            if part.request.ended:
                continue
            dimensions = part.request.work.lease.encoder.info.dimensions
            for index in part.indices:
                if part.request.fail_text(index, error(index), started, seconds):
                    self._end(part.request, part.request.answer(dimensions))

    def fail(self, error: Callable[[], MunjangError], which: Callable[[Request], bool] = lambda _: True) -> None:
        """End requests with an error each."""
        for request in [request for request in self._pending if which(request)]:
            failure = error()
            self._take_out(request, failure.reason)
            self._end(request, failure)

    def expire(self, requests: Iterable[tuple[Request, int]]) -> None:
        """End requests that were taken out of the queue because of their deadline, with how many texts were waiting."""
        for request, texts in requests:
            self._observer.dropped("expired", request.lane, texts)
            if not request.ended:
                self._end(request, expired())

    def expire_now(self, request: Request) -> None:
        """End a request whose deadline is now, wherever its texts are."""
        if not request.ended:
            self._take_out(request, "expired")
            self._end(request, expired())

    def leave(self, request: Request) -> None:
        """The caller has gone."""
        self._take_out(request, "cancelled")
        self._forget(request)

    def _take_out(self, request: Request, reason: str) -> None:
        texts = self._drop(request)
        if texts:
            self._observer.dropped(reason, request.lane, texts)

    def _end(self, request: Request, outcome: Encoded | MunjangError) -> None:
        self._forget(request)
        if request.future.done():
            return
        if isinstance(outcome, MunjangError):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)

    def _forget(self, request: Request) -> None:
        request.ended = True
        self._pending.discard(request)
        if not self._pending:
            self._idle.set()


def expired() -> DeadlineExceeded:
    """The error of a request whose deadline passed."""
    return DeadlineExceeded("the deadline passed before the texts were encoded")
