"""Several worker processes on one machine: starts them, restarts dead ones, passes signals on. Loads no model."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import structlog

from munjang.child_process import ChildProcess
from munjang.settings import unknown_variables
from munjang.telemetry import setup_logging

if TYPE_CHECKING:
    from munjang.settings import WorkerSettings

log = structlog.get_logger("munjang.worker")

CHILD = "--child"
"""The argument that makes `munjang work` one of several; its number and its parent's process id follow."""

LEAST_SECONDS = 10.0
"""A child that lived for less is started again only after a pause, so that a wrong setting does not spin."""

PAUSE_SECONDS = 5.0


def run_children(settings: WorkerSettings) -> int:
    """Run as many workers as the settings say until SIGTERM or SIGINT; 0 if all ended well then.

    Where the settings name no number of threads, the machine's cores are shared out.
    """
    setup_logging(settings)
    for line in unknown_variables():
        log.warning(line)
    count = settings.worker_processes
    share = settings.threads or max(1, (os.cpu_count() or 1) // count)
    environment = {"MUNJANG_THREADS": str(share)}
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    children = [_Child(number, environment) for number in range(count)]
    passed = 0
    while not stopping or any(child.running for child in children):
        for received in stopping[passed:]:
            passed += 1
            for child in children:
                child.send(received)
        if not stopping:
            for child in children:
                child.keep_alive()
        time.sleep(0.2)
    return 0 if all(child.ended_well for child in children) else 1


class _Child:
    """One worker process, started again when it ends."""

    def __init__(self, number: int, environment: dict[str, str]) -> None:
        self._number = number
        self._environment = environment
        self._start()

    @property
    def running(self) -> bool:
        return self._process.status() is None

    @property
    def ended_well(self) -> bool:
        """Whether it ended as asked; before it works, it ends by the signal itself."""
        return self._process.status() in {0, -signal.SIGTERM, -signal.SIGINT}

    def keep_alive(self) -> None:
        lived = time.monotonic() - self._begun
        if self.running or lived < (PAUSE_SECONDS if lived < LEAST_SECONDS else 0):
            return
        log.error("a worker process ended; starting another", process=self._number, status=self._process.status())
        self._start()

    def send(self, received: int) -> None:
        self._process.ask(received)

    def _start(self) -> None:
        self._begun = time.monotonic()
        command = [sys.executable, *sys.orig_argv[1:], CHILD, str(self._number), str(os.getpid())]
        self._process = ChildProcess(command, environment=self._environment)
