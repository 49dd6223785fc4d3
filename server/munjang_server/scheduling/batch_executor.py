"""Runs batches and probes on the runner threads, and decides what a failure means: memory, one text, or the engine.

A text is blamed only after it failed alone and a known good text succeeded right after it. If that fails too, the
engine is to blame, and no more of its texts are tried until a probe succeeds. So one bad text among 256 costs about
sixteen forwards of ever fewer texts, with forwards of other callers between them, and a broken engine costs three.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.contract import Cancellation, ForwardCancelled
from munjang_server.scheduling.api import BatchSeen, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.engine.contract import Lease
    from munjang_server.scheduling.api import Observer
    from munjang_server.scheduling.health import LoopNotifier
    from munjang_server.scheduling.latency_model import BatchLimits, Latencies
    from munjang_server.scheduling.request import Batch, Probe

_log = logging.getLogger(__name__)

PROBE_TEXT = "문장이 벡터가 됩니다."
"""What a probe's forward reads."""

TASKS = Path("/proc/self/task")
"""Where Linux tells of each thread of this process."""

RUNNER = "munjang-runner"
"""How the names of runner threads begin."""

_CALIBRATION_TOKENS = (64, 256, 1024)
_CALIBRATION_SECONDS = 0.5  # a forward that is expected to take longer is left to callers
_MATRIX = 2


class UnusableRows(Exception):
    """A forward did not return one vector per text."""


def compute_seconds() -> float:
    """Processor seconds of the threads of this process that compute forwards; 0 where the system does not say.

    These are the runners and all threads that Python did not start: a forward with all threads computes on the thread
    that calls it and on others, one on a stream on a thread of the runtime's own.
    """
    others = {thread.native_id for thread in threading.enumerate() if not thread.name.startswith(RUNNER)}
    ticks = 0
    for task in TASKS.glob("*/stat"):
        if int(task.parent.name) not in others:
            with suppress(OSError):  # the thread has just ended
                user, system = task.read_text().rpartition(")")[2].split()[11:13]
                ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class Running:
    """A forward that runs now.

    Attributes:
        expected: seconds that it is expected to take.
        tokens: of its texts, without padding.
        batch: the batch that it carries; None for a probe's.
        on_cpu: whether it computes on this machine's processors, so that their time shows progress.
        started: when, by `time.monotonic()`.
        cancellation: ends it early.
    """

    expected: float
    tokens: int
    batch: Batch | None
    on_cpu: bool
    started: float = 0.0
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def left(self) -> float:
        """Seconds until it is expected to end."""
        return max(0.0, self.started + self.expected - time.monotonic())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a forward ended: rows float32 [n, D] and which of them are finite, or an error."""

    started: float
    seconds: float
    rows: NDArray[np.float32] | None = None
    good: NDArray[np.bool_] | None = None
    error: BaseException | None = None


class BatchExecutor:
    """For the runner threads.

    Args:
        latencies: learns from each forward that succeeded.
        limits: whose token budget follows the memory.
        retry: takes pieces of failed batches, to be run again.
        notifier: where outcomes go.
        observer: is told what happened.

    Attributes:
        succeeded: `time.monotonic()` of the end of the last forward that succeeded.
    """

    def __init__(
        self,
        latencies: Latencies,
        limits: BatchLimits,
        retry: Callable[[Sequence[Batch]], None],
        notifier: LoopNotifier,
        observer: Observer,
    ) -> None:
        self._latencies = latencies
        self._budget = limits.budget
        self._retry = retry
        self._notifier = notifier
        self._observer = observer
        self._broken: set[int] = set()
        self._running: list[Running] = []
        self.succeeded = float("-inf")

    @property
    def running(self) -> list[Running]:
        """The forwards that run now. May be read by any thread."""
        return self._running.copy()

    def busy_seconds(self, lane: Lane, streams: int) -> float:
        """Seconds until a forward of this lane is expected to begin, if it were the next."""
        if not self._running:
            return 0.0
        running = self.running
        if len(running) < streams and lane is Lane.INTERACTIVE:
            running = [one for one in running if one.batch is None or one.batch.lane is Lane.INTERACTIVE]
        return min((one.left for one in running), default=0.0)

    def run_batch(self, batch: Batch) -> None:
        """Run a batch and see to each of its texts."""
        lease = batch.share_lease()
        if lease is None:
            return
        with lease:
            if batch.version in self._broken:
                self._break(batch.version)
                return
            outcome = self._forward(lease, batch.tokens(), batch)
            if outcome.rows is not None and outcome.good is not None:
                self._hand_out(batch, outcome.rows, outcome.good, outcome)
                time.sleep(0)  # else the event loop waits for Python's lock until this thread has done what follows
                self._account(batch, lease, outcome)
                self._budget.grow(batch.size * batch.share)
            elif isinstance(outcome.error, ForwardCancelled):
                self._observer.abandoned(batch.version, batch.size)
                self._retry([piece for piece in [batch.living()] if piece])  # run those that callers still wait for
            else:
                self._account(batch, lease, outcome)
                self._judge(batch, lease, outcome)

    def run_probe(self, probe: Probe) -> None:
        """Run a probe and tell whether the engine works."""
        version = probe.lease.version
        try:
            with probe.lease as lease:
                if not self._works(lease):
                    self._break(version)
                    return
                self._broken.discard(version)
                self._notifier.engine_works(version)
                if probe.calibrate:
                    self._calibrate(lease)
        finally:
            self._notifier.probe_ended(version)

    def _forward(self, lease: Lease, tokens: Sequence[Tokens], batch: Batch | None = None) -> Outcome:
        """Run one forward; whatever it raises is the outcome. Learning from it comes later, so that no answer waits."""
        encoder, share = lease.encoder, batch.share if batch else 1
        size, squares = sum(map(len, tokens)), sum(len(text) ** 2 for text in tokens)
        expected = self._latencies.of(lease.version).seconds(share * size, share * squares)
        running = Running(expected, size, batch, encoder.on_cpu, time.monotonic())
        self._running.append(running)
        try:
            rows = encoder.forward(tokens, share=share > 1, cancellation=running.cancellation)
            seconds = time.monotonic() - running.started
            good = good_rows(rows, len(tokens))
        except BaseException as error:  # noqa: BLE001 - a forward may raise anything, and its thread must survive
            return Outcome(running.started, time.monotonic() - running.started, error=error.with_traceback(None))
        finally:
            self._running.remove(running)
        self.succeeded = time.monotonic()
        return Outcome(running.started, seconds, rows, good)

    def _account(self, batch: Batch, lease: Lease, outcome: Outcome) -> None:
        """Measure and report a forward, after its answers are on their way, because no caller waits for this."""
        if outcome.error is None:
            share = batch.share
            self._latencies.record(batch.version, share * batch.size, share * batch.squares, outcome.seconds)
        oldest = outcome.started - min(part.request.arrived for part in batch.parts)
        computed = lease.encoder.computed(batch.lengths)
        self._observer.batch(BatchSeen(batch.version, batch.lane, batch.texts, batch.size, computed, oldest))
        self._observer.forward(batch.version, batch.lane, outcome.seconds, outcome.error is None)

    def _hand_out(self, batch: Batch, rows: NDArray[np.float32], good: NDArray[np.bool_], outcome: Outcome) -> None:
        """Answer the texts with finite rows; the others are tried once more, each alone."""
        if not good.all():
            self._retry([batch.piece([int(position)]) for position in (~good).nonzero()[0]])
            self._observer.split(batch.version)
            batch, rows = batch.piece(int(position) for position in good.nonzero()[0]), rows[good]
        self._notifier.settle(batch, rows, outcome.started, outcome.seconds)

    def _judge(self, batch: Batch, lease: Lease, outcome: Outcome) -> None:
        """A forward failed: split the batch, try it again, or find the text that fails."""
        memory = outcome.error is not None and is_out_of_memory(outcome.error)
        if memory:
            if batch.texts > 1:
                self._budget.shrink(batch.size * batch.share)
            self._observer.out_of_memory(batch.version, self._budget.now)
        if batch.whole:
            _log.warning("a forward of %d texts failed", batch.texts, exc_info=outcome.error)
        if batch.texts > 1 and (memory or not batch.whole or self._works(lease)):
            self._observer.split(batch.version)
            self._retry(batch.halves())
        elif memory and not batch.retries:
            self._retry([batch.again()])
        elif batch.texts == 1 and self._works(lease):
            self._observer.failed(batch.version, 1)
            why = "the engine has not the memory for it" if memory else "the model fails on it"
            self._notifier.fail_texts(batch, f"this text cannot be encoded: {why}", outcome.started, outcome.seconds)
        else:
            self._break(batch.version)

    def _works(self, lease: Lease) -> bool:
        """Whether a known good text can be encoded, at the second try at the latest."""
        error: BaseException | None = None
        for _ in range(2):
            try:
                tokens = lease.encoder.tokenize([PROBE_TEXT])
            except Exception as tokenize_error:  # noqa: BLE001 - an encoder that cannot even tokenise does not work
                error = tokenize_error
                continue
            outcome = self._measure(lease, tokens)
            self._observer.probe(lease.version, outcome.seconds, outcome.error is None)
            if outcome.error is None:
                return True
            error = outcome.error
        _log.error("the probe of version %d fails", lease.version, exc_info=error)
        return False

    def _measure(self, lease: Lease, tokens: Sequence[Tokens]) -> Outcome:
        """Run a forward of sample texts and learn how long it takes."""
        outcome = self._forward(lease, tokens)
        if outcome.error is None:
            size, squares = sum(map(len, tokens)), sum(len(text) ** 2 for text in tokens)
            self._latencies.record(lease.version, size, squares, outcome.seconds)
        return outcome

    def _break(self, version: int) -> None:
        self._broken.add(version)
        self._notifier.engine_failed(version, "forwards fail")

    def _calibrate(self, lease: Lease) -> None:
        """Measure larger forwards while they are quick. The first of a shape may compile, so the second counts."""
        tokens = lease.encoder.tokenize([PROBE_TEXT])
        for size in _CALIBRATION_TOKENS:
            if self._latencies.of(lease.version).seconds(size) > _CALIBRATION_SECONDS:
                return
            batch = tokens * max(1, min(size, self._budget.now) // len(tokens[0]))
            self._forward(lease, batch)
            self._measure(lease, batch)


def good_rows(rows: NDArray[np.float32], texts: int) -> NDArray[np.bool_]:
    """Which rows of a forward are finite: bool [texts].

    Raises:
        UnusableRows: not one row a text, or none of them is finite.
    """
    if not isinstance(rows, np.ndarray) or rows.ndim != _MATRIX or len(rows) != texts:
        msg = f"the forward of {texts} texts returned {getattr(rows, 'shape', type(rows))}"
        raise UnusableRows(msg)
    good = np.asarray(np.isfinite(rows).all(axis=1))
    if not good.any():
        msg = f"no row of {texts} is finite"
        raise UnusableRows(msg)
    return good


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a forward ran out of memory: MemoryError, or a runtime's own error for it.

    Encoders raise MemoryError by contract; the others are known by name, so that this module needs none of them.
    """
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "bad_alloc" in words)
