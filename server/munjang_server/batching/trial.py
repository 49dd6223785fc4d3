"""What becomes of a job: answers, a split, a verdict on one text, or on the engine. Runs on the engine's threads.

A text is only blamed after it failed alone and a known good text succeeded right after it; where that fails too, the
engine is to blame, and no more of its texts are tried until a probe succeeds. So a poisoned text among 256 costs some
sixteen forwards of ever fewer texts, between which others have their turn, and a broken engine costs three.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from munjang_server.batching import isolate
from munjang_server.batching.observer import BatchSeen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from munjang.engine.contract import Lease
    from munjang_server.batching.forward import Forward, Outcome
    from munjang_server.batching.inbox import Inbox, Probe
    from munjang_server.batching.observer import Observer
    from munjang_server.batching.pace import Budget
    from munjang_server.batching.request import Batch, Part

_log = logging.getLogger(__name__)

PROBE_TEXT = "문장이 벡터가 됩니다."
"""What the watchdog's forward reads."""

_CALIBRATION_TOKENS = 1024


class Desk(Protocol):
    """Where outcomes go. Every method may be called from any thread of the engine and returns at once."""

    def settle(self, batch: Batch, rows: NDArray[np.float32], started: float, seconds: float) -> None:
        """Hand out the rows of a batch."""

    def blame(self, batch: Batch, message: str, outcome: Outcome) -> None:
        """The texts of this batch cannot be encoded."""

    def engine_failed(self, version: int, reason: str) -> None:
        """Forwards of this version fail, whatever the text."""

    def engine_works(self, version: int) -> None:
        """A probe of this version succeeded."""

    def probe_ended(self, version: int) -> None:
        """A probe was run or lost."""


class Trial:
    """Runs batches and probes and judges how they end."""

    def __init__(self, forward: Forward, inbox: Inbox, budget: Budget, desk: Desk, observer: Observer) -> None:
        self._forward = forward
        self._inbox = inbox
        self._budget = budget
        self._desk = desk
        self._observer = observer
        self._broken: set[int] = set()

    def run_batch(self, batch: Batch, pause: Callable[[], None] | None = None) -> None:
        """Run a batch and see to each of its texts. `pause` is called between the parts of its forward, if any."""
        lease = _share_lease(batch)
        if lease is None:
            return
        with lease:
            if batch.version in self._broken:
                self._break(batch.version, "forwards fail")
                return
            outcome = self._forward.run(lease, batch.tokens(), pause, batch.share)
            if outcome.rows is not None and outcome.good is not None:
                self._hand_out(batch, outcome.rows, outcome.good, outcome)
                time.sleep(0)  # else the event loop waits for Python's lock until the books are kept
                self._keep_books(batch, lease, outcome)
                self._budget.grow(batch.size * batch.share)
            else:
                self._keep_books(batch, lease, outcome)
                self._judge(batch, lease, outcome)

    def run_probe(self, probe: Probe) -> None:
        """Run a probe and tell whether the engine works."""
        version = probe.lease.version
        try:
            with probe.lease as lease:
                self._probe(lease, calibrate=probe.calibrate)
        finally:
            self._desk.probe_ended(version)

    def _probe(self, lease: Lease, *, calibrate: bool) -> None:
        if not self._works(lease):
            self._break(lease.version, "forwards fail")
            return
        self._broken.discard(lease.version)
        self._desk.engine_works(lease.version)
        if calibrate:
            self._calibrate(lease)

    def _keep_books(self, batch: Batch, lease: Lease, outcome: Outcome) -> None:
        """Measure and tell of a forward; after its answers are on their way, since nobody waits for this."""
        self._forward.learn(batch.version, outcome)
        oldest = outcome.started - min(part.request.arrived for part in batch.parts)
        computed = lease.encoder.computed(batch.lengths)
        self._observer.batch(BatchSeen(batch.version, batch.lane, batch.texts, batch.size, computed, oldest))
        self._observer.forward(batch.version, batch.lane, outcome.seconds, outcome.error is None)

    def _hand_out(self, batch: Batch, rows: NDArray[np.float32], good: NDArray[np.bool_], outcome: Outcome) -> None:
        """Answer the texts with finite rows; the others are tried once more, each alone."""
        if not good.all():
            self._inbox.put_pieces(isolate.singles(batch, [int(position) for position in (~good).nonzero()[0]]))
            self._observer.split(batch.version)
            batch, rows = isolate.piece(batch, [int(position) for position in good.nonzero()[0]]), rows[good]
        self._desk.settle(batch, rows, outcome.started, outcome.seconds)

    def _judge(self, batch: Batch, lease: Lease, outcome: Outcome) -> None:
        """A forward failed: split the batch, try it again, or find who is to blame."""
        memory = outcome.error is not None and isolate.is_out_of_memory(outcome.error)
        if memory:
            if batch.texts > 1:
                self._budget.shrink(batch.size * batch.share)
            self._observer.out_of_memory(batch.version, self._budget.now)
        if batch.whole:
            _log.warning("a forward of %d texts failed", batch.texts, exc_info=outcome.error)
        if batch.texts > 1 and (memory or not batch.whole or self._works(lease)):
            self._observer.split(batch.version)
            self._inbox.put_pieces(isolate.halves(batch))
        elif memory and not batch.retries:
            self._inbox.put_pieces([isolate.again(batch)])
        elif batch.texts == 1 and self._works(lease):
            self._observer.failed(batch.version, 1)
            why = "the engine has not the memory for it" if memory else "the model fails on it"
            self._desk.blame(batch, f"this text cannot be encoded: {why}", outcome)
        else:
            self._break(batch.version, "forwards fail")

    def _works(self, lease: Lease) -> bool:
        """Whether a known good text can be encoded; a second try is allowed."""
        error: BaseException | None = None
        for _ in range(2):
            try:
                outcome = self._forward.run(lease, lease.encoder.tokenize([PROBE_TEXT]))
                self._forward.learn(lease.version, outcome)
            except Exception as tokenize_error:  # noqa: BLE001 - an encoder that cannot even tokenise does not work
                error = tokenize_error
                continue
            self._observer.probe(lease.version, outcome.seconds, outcome.error is None)
            if outcome.error is None:
                return True
            error = outcome.error
        _log.error("the probe of version %d fails", lease.version, exc_info=error)
        return False

    def _break(self, version: int, reason: str) -> None:
        self._broken.add(version)
        self._desk.engine_failed(version, reason)

    def _calibrate(self, lease: Lease) -> None:
        """Measure a larger forward; the first of its shape may compile something, so the second counts."""
        tokens = lease.encoder.tokenize([PROBE_TEXT])
        batch = tokens * max(1, min(_CALIBRATION_TOKENS, self._budget.now) // len(tokens[0]))
        self._forward.run(lease, batch)
        self._forward.learn(lease.version, self._forward.run(lease, batch))


def _share_lease(batch: Batch) -> Lease | None:
    """A lease for the forward; None if every caller has left by now.

    The event loop may end a request at any moment, and then its lease is given back. A request that has not ended after
    its lease was shared had not given it back before, so the share is good.
    """
    for part in batch.parts:
        if _ended(part):
            continue
        try:
            lease = part.request.work.lease.share()
        except Exception:
            if _ended(part):
                continue
            raise
        if not _ended(part):
            return lease
        lease.release()
    return None


def _ended(part: Part) -> bool:
    return part.request.ended
