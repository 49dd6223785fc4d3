"""The requests that wait for the runners, and what each runner takes next.

Interactive calls go first, but bulk gets its share of the tokens while both wait. While few texts wait, one forward has
all threads. When many wait, forwards run beside each other, each on a stream, and one stream stays free for calls.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from munjang_server.scheduling.api import Lane
from munjang_server.scheduling.fair_queue import ENOUGH, LaneQueue
from munjang_server.scheduling.latency_model import LONGEST, Flow
from munjang_server.scheduling.request import Batch, Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from munjang_server.scheduling.latency_model import BatchLimits, Latencies
    from munjang_server.scheduling.request import Request

_LONG = 3 * LONGEST  # seconds: calls do not wait for a bulk forward that takes longer, but run beside it
_numbers = count(1)


class Lanes:
    """The waiting texts of both lanes, and which batch comes next. Not thread-safe.

    Attributes:
        lanes: the lanes.
        late: requests that `take` found too late to answer in time, with how many texts were waiting; the caller of
            `take` must end them and clear the list.
        interactive: how many tokens per second interactive calls took lately.
        number: which queue it is, counted.
    """

    def __init__(self, limits: BatchLimits, latencies: Latencies, bulk_share: float) -> None:
        self.lanes = {lane: LaneQueue(lane) for lane in Lane}
        self.late: list[tuple[Request, int]] = []
        self.interactive = Flow()
        self.number = next(_numbers)
        self._limits = limits
        self._latencies = latencies
        self._bulk_share = bulk_share
        self._owed = 0.0  # tokens that bulk is owed
        self._serial = 0

    @property
    def texts(self) -> int:
        """How many texts wait."""
        return sum(lane.texts for lane in self.lanes.values())

    @property
    def tokens(self) -> int:
        """Their tokens."""
        return sum(lane.tokens for lane in self.lanes.values())

    def add(self, request: Request) -> None:
        """Let all texts of a request wait."""
        if request.lane is Lane.INTERACTIVE:
            self._limits.saw_interactive(request.arrived)
        self._serial += 1
        request.queue, request.serial = self.number, self._serial
        self.lanes[request.lane].add(request)

    def drop(self, request: Request) -> int:
        """Take all waiting texts of a request away; returns how many there were."""
        return self.lanes[request.lane].drop(request) if request.queue == self.number else 0

    def take(self, now: float, running: Collection[Batch | Probe] = ()) -> Batch | None:
        """Take the texts of the next batch, all of one version and lane; None if nothing waits that may run now."""
        for lane in self._order(now):
            share = self._share(lane, now, running)
            batch = self.lanes[lane].take(now, self._limits, self._drop_late, share, len(running)) if share else None
            if batch is not None:
                self._settle(batch, now)
                return batch
        return None

    def startable(self, now: float, running: Collection[Batch | Probe]) -> bool:
        """Whether `take` would find a batch, as far as can be told without looking for late requests."""
        return any(self._share(lane, now, running) for lane in Lane)

    def _order(self, now: float) -> tuple[Lane, Lane]:
        """The lanes in the order in which they are tried: interactive first, unless bulk is owed a whole batch."""
        bulk = self.lanes[Lane.BULK]
        if bulk.texts and self._owed >= self._limits.tokens(Lane.BULK, None, now, bulk.streams):
            return Lane.BULK, Lane.INTERACTIVE
        return Lane.INTERACTIVE, Lane.BULK

    def _share(self, lane: Lane, now: float, running: Collection[Batch | Probe]) -> int:
        """How many forwards share the device if this lane starts one: 1 gets all threads, 0 must wait."""
        queue = self.lanes[lane]
        streams = queue.streams
        if not queue.texts:
            return 0
        if not running:
            crowded = queue.tokens >= streams * ENOUGH
            return streams if (crowded if lane is Lane.INTERACTIVE else self._limits.interactive_expected(now)) else 1
        if len(running) >= streams:
            return 0
        if lane is Lane.BULK:
            bulk = sum(isinstance(job, Batch) and job.lane is Lane.BULK for job in running)
            return streams if shares(running) and bulk < streams - 1 else 0
        enough = queue.tokens >= ENOUGH
        return streams if all(self._lets_pass(job, enough=enough) for job in running) else 0

    def _lets_pass(self, job: Batch | Probe, *, enough: bool) -> bool:
        """Whether interactive texts run beside this job at once: `enough` of them beside calls, any beside bulk.

        They wait for a bulk batch that has all threads, unless it takes long.
        """
        if isinstance(job, Probe):
            return False
        if job.lane is Lane.INTERACTIVE:
            return enough
        return job.share > 1 or self._latencies.of(job.version).seconds(job.size, job.squares) > _LONG

    def _drop_late(self, request: Request) -> None:
        self.late.append((request, self.drop(request)))

    def _settle(self, batch: Batch, now: float) -> None:
        """Keep the account between the lanes: in the long run bulk gets its share of the tokens while both wait.

        What bulk gets while no interactive texts wait reduces what it is owed, but never below zero. Without waiting
        bulk texts nothing is owed.
        """
        share, tokens = self._bulk_share, batch.size
        if batch.lane is Lane.INTERACTIVE:
            self.interactive.add(tokens, now)
            self._owed += tokens * share / (1 - share) if share < 1 else math.inf
        elif self.lanes[Lane.INTERACTIVE].texts:
            self._owed -= tokens
        else:
            self._owed = max(self._owed - tokens, min(self._owed, 0.0))
        if not self.lanes[Lane.BULK].texts:
            self._owed = 0.0


def shares(running: Iterable[Batch | Probe]) -> bool:
    """Whether all of these run on a stream, and none has all threads."""
    return all(isinstance(job, Batch) and job.share > 1 for job in running)


class RequestQueue:
    """Work that waits for the runners, under one lock: probes first, then pieces of failed batches and lanes in turn.

    Nothing here takes longer than forming one batch, so either side may wait for the lock.

    Args:
        make_lanes: empty lanes.
        on_late: is called, under the lock, with requests that were found past their deadline.
    """

    def __init__(self, make_lanes: Callable[[], Lanes], on_late: Callable[[list[tuple[Request, int]]], None]) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._make_lanes = make_lanes
        self._on_late = on_late
        self._running: dict[int, Batch | Probe] = {}
        self._probes: deque[Probe] = deque()
        self._pieces: deque[Batch] = deque()
        self._pieces_turn = True
        self._stopped = False
        self.lanes = make_lanes()

    def put(self, request: Request, check: Callable[[Lanes], None]) -> None:
        """Add a request, unless `check` raises."""
        with self._changed:
            check(self.lanes)
            self.lanes.add(request)
            self._wake()

    def look(self, check: Callable[[Lanes], None]) -> None:
        """Call `check` with the lanes, under the lock."""
        with self._changed:
            check(self.lanes)

    def drop(self, request: Request) -> int:
        """Take a request's waiting texts away; returns how many there were."""
        with self._changed:
            return self.lanes.drop(request)

    def put_pieces(self, pieces: Iterable[Batch]) -> None:
        """Add pieces of a failed batch before the pieces that wait already."""
        with self._changed:
            self._pieces.extendleft(reversed(list(pieces)))
            self._changed.notify()

    def put_probe(self, probe: Probe) -> None:
        """Add a probe; it runs next."""
        with self._changed:
            self._probes.append(probe)
            self._changed.notify()

    def next(self, runner: int) -> Batch | Probe | None:
        """Wait for work that may run now and take it; None when stopped. `runner`: who asks, and is idle."""
        with self._changed:
            self._running.pop(runner, None)
            while not self._stopped:
                job = self._take()
                if job is not None:
                    self._running[runner] = job
                    self._wake()
                    return job
                self._changed.wait()
            return None

    def _wake(self) -> None:
        """Wake an idle runner if there is something for it."""
        if self._probes or self._pieces or self.lanes.startable(time.monotonic(), self._running.values()):
            self._changed.notify()

    def _take(self) -> Batch | Probe | None:
        if self._probes:
            return self._probes.popleft()
        self._pieces_turn = not self._pieces_turn
        if self._pieces_turn:
            return self._take_piece() or self._take_batch()
        return self._take_batch() or self._take_piece()

    def _take_piece(self) -> Batch | None:
        """A piece of a failed batch: with all threads if nothing else runs, else on a stream if one is free."""
        while self._pieces:
            share = self._pieces[0].streams if self._running else 1
            if self._running and (len(self._running) >= share or not shares(self._running.values())):
                return None
            piece = self._pieces.popleft().living()
            if piece is not None:
                return replace(piece, share=share)
        return None

    def _take_batch(self) -> Batch | None:
        """A batch of the lanes, after reporting the requests that are too late."""
        if not self.lanes.texts:
            return None
        batch = self.lanes.take(time.monotonic(), self._running.values())
        if self.lanes.late:
            late, self.lanes.late = self.lanes.late, []
            self._on_late(late)
        return batch

    def reset(self) -> int:
        """Start with empty lanes after a defect; returns the number of the old ones, whose requests must be ended."""
        with self._changed:
            old, self.lanes = self.lanes, self._make_lanes()
            self._pieces.clear()
            return old.number

    def stop(self) -> None:
        """Make `next` return None from now on, and release the probes' leases."""
        with self._changed:
            self._stopped = True
            for probe in self._probes:
                probe.lease.release()
            self._probes.clear()
            self._changed.notify_all()
