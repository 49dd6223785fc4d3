"""Where the event loop and the engine's threads meet: one lock around everything that waits for the engine.

The engine thread takes whatever is next. While it runs interactive calls, helpers take more of them to run beside it,
if forwards of the model can share the processor.

Nothing here takes longer than forming one batch, so either side may wait for the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from munjang_server.batching.contract import Lane
from munjang_server.batching.isolate import living
from munjang_server.batching.request import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from munjang.engine.contract import Lease
    from munjang_server.batching.admission import Admission
    from munjang_server.batching.queue import Queue
    from munjang_server.batching.request import Request


@dataclass(frozen=True, slots=True)
class Probe:
    """A forward of a known good text, to see whether the engine works.

    Attributes:
        lease: on the version to try; whoever runs the probe releases it.
        calibrate: also measure a larger forward, because this version's speed is not known.
    """

    lease: Lease
    calibrate: bool = False


class Inbox:
    """What waits for the engine: probes first, then pieces of failed batches and the queue by turns.

    Args:
        make_queue: an empty queue.
        admission: judges what is put in.
        on_late: is called, under the lock, with requests that were found past their deadline.
    """

    def __init__(
        self,
        make_queue: Callable[[], Queue],
        admission: Admission,
        on_late: Callable[[list[tuple[Request, int]]], None],
    ) -> None:
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._room_beside = threading.Condition(lock)
        self._shared = False  # whether the engine thread runs what others may run beside
        self._helping: set[int] = set()
        self._make_queue = make_queue
        self._admission = admission
        self._on_late = on_late
        self._probes: deque[Probe] = deque()
        self._pieces: deque[Batch] = deque()
        self._pieces_turn = True
        self._stopped = False
        self.queue = make_queue()

    def put(self, request: Request, busy: float, now: float) -> None:
        """Admit a request. `busy`: seconds until the engine is free.

        Raises:
            Overloaded, DeadlineUnreachable: not admitted.
        """
        with self._changed:
            self._admission.check(request, self.queue, busy, now)
            self.queue.add(request)
            if self._shared:
                self._call_helper()
            else:
                self._changed.notify()

    def foresee(self, outline: Request, busy: float, now: float) -> None:
        """Refuse what `put` would refuse though it were no larger than this.

        Raises:
            Overloaded, DeadlineUnreachable: it would not be admitted.
        """
        with self._changed:
            self._admission.check(outline, self.queue, busy, now, least=True)

    def learn(self, request: Request, now: float) -> None:
        """A request was answered or expired: see how good the estimate was."""
        self._admission.learn(request, now)

    def drop(self, request: Request) -> int:
        """Take a request's waiting texts away; returns how many there were."""
        with self._changed:
            return self.queue.drop(request) if request.home is self.queue else 0

    def put_pieces(self, pieces: Iterable[Batch]) -> None:
        """Let pieces of a failed batch wait, before the pieces that wait already."""
        with self._changed:
            self._pieces.extendleft(reversed(list(pieces)))
            self._changed.notify()

    def put_probe(self, probe: Probe) -> None:
        """Let a probe be the next."""
        with self._changed:
            self._probes.append(probe)
            self._changed.notify()

    def next(self) -> Batch | Probe | None:
        """Wait for work and take it; None when stopped."""
        with self._changed:
            self._shared = False
            while not self._stopped:
                job = self._take()
                if job is not None:
                    self._shared = isinstance(job, Batch) and job.lane is Lane.INTERACTIVE
                    self._call_helper()
                    return job
                self._changed.wait()
            return None

    def next_beside(self, helper: int) -> Batch | None:
        """Wait for interactive texts to run beside the engine thread's; None when stopped. `helper`: who asks."""
        with self._room_beside:
            self._helping.discard(helper)
            while not self._stopped:
                if self._wants_help():
                    batch = self._taken(lambda now: self.queue.take_beside(now, 1 + len(self._helping)))
                    if batch is not None:
                        self._helping.add(helper)
                        self._call_helper()
                        return batch
                self._room_beside.wait()
            return None

    def _call_helper(self) -> None:
        if self._wants_help():
            self._room_beside.notify()

    def _wants_help(self) -> bool:
        waiting = self.queue.lanes[Lane.INTERACTIVE]
        return self._shared and waiting.worth_sharing and len(self._helping) < waiting.streams - 1

    def next_interactive(self) -> Batch | None:
        """What is to run while a bulk forward pauses, if anything: does not wait."""
        with self._changed:
            return None if self._stopped else self._taken(self.queue.take_interactive)

    def _take(self) -> Batch | Probe | None:
        if self._probes:
            return self._probes.popleft()
        self._pieces_turn = not self._pieces_turn
        if self._pieces_turn:
            return self._take_piece() or self._take_batch()
        return self._take_batch() or self._take_piece()

    def _take_batch(self) -> Batch | None:
        return self._taken(lambda now: self.queue.take(now, len(self._helping)))

    def _take_piece(self) -> Batch | None:
        while self._pieces:
            piece = living(self._pieces.popleft())
            if piece is not None:
                return piece
        return None

    def _taken(self, take: Callable[[float], Batch | None]) -> Batch | None:
        """A batch of the queue, after those are told whose texts are too late."""
        batch = take(time.monotonic())
        if self.queue.late:
            late, self.queue.late = self.queue.late, []
            self._on_late(late)
        return batch

    def reset(self) -> Queue:
        """Begin with an empty queue after a defect; returns the old one, whose requests must be ended."""
        with self._changed:
            old, self.queue = self.queue, self._make_queue()
            self._pieces.clear()
            return old

    def stop(self) -> None:
        """Let `next` return None, now and ever, and give the probes' leases back."""
        with self._changed:
            self._stopped = True
            for probe in self._probes:
                probe.lease.release()
            self._probes.clear()
            self._changed.notify_all()
            self._room_beside.notify_all()
