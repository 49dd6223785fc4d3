"""The threads that run forwards: equal runners on one queue. No error ends them.

A runner takes its next batch right after the last one, without a detour through the event loop. Tokenising before and
post-processing after happen on other threads meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from munjang_server.scheduling.batch_executor import RUNNER
from munjang_server.scheduling.request import Batch

if TYPE_CHECKING:
    from munjang_server.scheduling.api import Observer
    from munjang_server.scheduling.batch_executor import BatchExecutor
    from munjang_server.scheduling.health import LoopNotifier
    from munjang_server.scheduling.request import Probe
    from munjang_server.scheduling.request_queue import RequestQueue

_log = logging.getLogger(__name__)


class RunnerPool:
    """As many runners as forwards of a model can run beside each other. For the event loop.

    Args:
        queue: where runners take their work.
        executor: runs it.
        notifier: is told which requests a defect of munjang has hit.
        observer: is told of runners that were started again.
    """

    def __init__(
        self, queue: RequestQueue, executor: BatchExecutor, notifier: LoopNotifier, observer: Observer
    ) -> None:
        self._queue = queue
        self._executor = executor
        self._notifier = notifier
        self._observer = observer
        self._threads: list[threading.Thread] = []
        self._jobs: dict[int, Batch | Probe] = {}  # what each runner works on

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def ended(self) -> bool:
        """Whether no thread is left."""
        return not any(thread.is_alive() for thread in self._threads)

    def at_least(self, count: int) -> None:
        """Start threads until there are `count`."""
        while len(self._threads) < count:
            self._threads.append(self._start(len(self._threads)))

    def revive(self) -> None:
        """Restart threads that died, which only a defect of the interpreter or a test can cause."""
        for number, thread in enumerate(self._threads):
            if not thread.is_alive():
                _log.critical("a runner died and is started again")
                self._recover(number)
                self._threads[number] = self._start(number)

    def join(self, seconds: float) -> bool:
        """Wait for the threads to end; whether all did."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return self.ended

    def _start(self, number: int) -> threading.Thread:
        """Start a thread; a daemon, since a stuck forward cannot be ended and must not keep the process."""
        thread = threading.Thread(target=self._main, args=[number], name=f"{RUNNER}-{number}", daemon=True)
        thread.start()
        return thread

    def _main(self, number: int) -> None:
        while self._run_next(number):
            pass

    def _run_next(self, number: int) -> bool:
        """Take a job and run it; False when stopped."""
        try:
            job = self._queue.next(number)
            if job is None:
                return False
            self._jobs[number] = job
            if isinstance(job, Batch):
                self._executor.run_batch(job)
            else:
                self._executor.run_probe(job)
        except BaseException:  # noqa: BLE001 - this thread must not die, and what it hit is failed
            _log.critical("a defect on a runner", exc_info=True)
            self._recover(number)
        self._jobs.pop(number, None)
        return True

    def _recover(self, number: int) -> None:
        """Fail what the defect has hit: the runner's batch, or the queue if it had none."""
        self._observer.restarted()
        job = self._jobs.pop(number, None)
        if isinstance(job, Batch):
            self._notifier.defect_in_batch(job)
        elif job is None:
            self._notifier.defect_in_queue(self._queue.reset())
