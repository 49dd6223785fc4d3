"""The time limit of a step: an alarm that is heard again at the next batch should anything have caught it."""

from __future__ import annotations

from typing import Any

from rq.timeouts import UnixSignalDeathPenalty

from munjang_worker.interrupts import Reason
from munjang_worker.runtime import current


class PolledDeathPenalty(UnixSignalDeathPenalty):  # type: ignore[misc] # rq is not followed by mypy
    """RQ's alarm, and a reason to stop.

    An exception out of a signal handler can be lost: in a library that catches everything, in the end of an object.
    """

    def handle_death_penalty(self, signum: int, frame: Any) -> None:
        """Raise the time-out."""
        current().interrupts.set(Reason.EXPIRED)
        super().handle_death_penalty(signum, frame)
