"""A thread of the engine: takes jobs and runs them until told to stop. It goes on whatever happens.

The thread picks its next batch right after the last one, with no way through the event loop between them; tokenising
before and answering after happen on other threads meanwhile. While a long bulk forward pauses between its parts, the
interactive batches that wait are run, so that they need not wait for the whole of it. Helpers run interactive batches
beside those of the engine thread.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from munjang_server.batching.contract import Lane
from munjang_server.batching.request import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.batching.inbox import Inbox, Probe
    from munjang_server.batching.observer import Observer
    from munjang_server.batching.queue import Queue
    from munjang_server.batching.trial import Trial

_log = logging.getLogger(__name__)


class Casualties(Protocol):
    """Who is told which requests a defect of ours has hit. Called from the engine's threads, returns at once."""

    def defect_in_batch(self, batch: Batch) -> None:
        """The requests of this batch cannot be answered."""

    def defect_in_queue(self, queue: Queue) -> None:
        """The requests in this queue cannot be answered."""


class Runner:
    """One thread and its supervision. `number` 0 is the engine thread, others are helpers."""

    def __init__(self, inbox: Inbox, trial: Trial, casualties: Casualties, observer: Observer, number: int) -> None:
        self._inbox = inbox
        self._trial = trial
        self._casualties = casualties
        self._observer = observer
        self._number = number
        self._thread: threading.Thread | None = None
        self._jobs: list[Batch | Probe] = []  # the one that runs, and those that pause for it

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; a daemon, since a stuck forward cannot be ended and must not keep the process."""
        self._thread = threading.Thread(target=self._main, name=f"munjang-engine-{self._number}", daemon=True)
        self._thread.start()

    def revive(self) -> None:
        """Start the thread again after it died, which only a defect of the interpreter or a test can cause."""
        _log.critical("a thread of the engine died and is started again")
        self._recover(0)
        self.start()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it did."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.alive

    def _main(self) -> None:
        take = partial(self._inbox.next_beside, self._number) if self._number else self._inbox.next
        while self._run(take):
            pass

    def _let_pass(self) -> None:
        """A bulk forward pauses: run what is not to wait for its end."""
        while self._run(self._inbox.next_interactive):
            pass

    def _run(self, take: Callable[[], Batch | Probe | None]) -> bool:
        """Take a job and run it; whether there was one."""
        running = len(self._jobs)
        try:
            job = take()
            if job is None:
                return False
            self._jobs.append(job)
            self._work(job)
        except BaseException:  # noqa: BLE001 - this thread must not die, and what it hit is failed
            _log.critical("a defect on the engine thread", exc_info=True)
            self._recover(running)
        del self._jobs[running:]
        return True

    def _work(self, job: Batch | Probe) -> None:
        if isinstance(job, Batch):
            self._trial.run_batch(job, self._let_pass if job.lane is Lane.BULK else None)
        else:
            self._trial.run_probe(job)

    def _recover(self, running: int) -> None:
        """Fail what the defect has hit, the jobs behind the first so many or else the queue: nobody waits for it."""
        self._observer.restarted()
        hit = self._jobs[running:]
        del self._jobs[running:]
        for job in hit:
            if isinstance(job, Batch):
                self._casualties.defect_in_batch(job)
        if not hit:
            self._casualties.defect_in_queue(self._inbox.reset())
