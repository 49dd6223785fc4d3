"""Why the current step should stop: set by a signal, a request or another step, polled between two batches."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """What ends a step before its work is done."""

    SHUTDOWN = "the worker shuts down"
    ENDED = "the job has ended: cancelled, failed in another step, or done"
    STOPPED = "the step was stopped by a command to its worker"
    EXPIRED = "the step took longer than its time limit"
    OVERTAKEN = "another worker has done the step meanwhile"


class Interrupted(BaseException):
    """Raised inside a step's work. Not an Exception, so no handler of bad rows can catch it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Interrupts:
    """One worker process's reasons to stop. Set from any thread or signal handler.

    Attributes:
        stopping: whether the process is to end; once asked for, it stays so, whatever else ends the current step.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._reason: Reason | None = None

    def set(self, reason: Reason) -> None:
        """Ask the current step to stop; the first of several reasons counts."""
        if reason is Reason.SHUTDOWN:
            self.stopping = True
        if self._reason is None:
            self._reason = reason

    def clear(self) -> None:
        """Start a new step."""
        self._reason = Reason.SHUTDOWN if self.stopping else None

    def poll(self) -> None:
        """Raise Interrupted if the step should stop."""
        if self._reason is not None:
            raise Interrupted(self._reason)
