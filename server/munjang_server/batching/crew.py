"""The threads of the engine: its own, and helpers as soon as a model comes whose forwards can run beside each other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang_server.batching.runner import Runner


class Crew:
    """For the event loop.

    Args:
        make: a runner by its number; 0 is the engine thread's.
    """

    def __init__(self, make: Callable[[int], Runner]) -> None:
        self._make = make
        self._runners: list[Runner] = []

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(runner.alive for runner in self._runners)

    @property
    def ended(self) -> bool:
        """Whether no thread is left."""
        return not any(runner.alive for runner in self._runners)

    def at_least(self, count: int) -> None:
        """Start threads until there are so many."""
        while len(self._runners) < count:
            runner = self._make(len(self._runners))
            runner.start()
            self._runners.append(runner)

    def revive(self) -> None:
        """Start those again that died; see `Runner.revive`."""
        for runner in self._runners:
            if not runner.alive:
                runner.revive()

    def join(self, seconds: float) -> bool:
        """Wait for the threads to end; whether all did."""
        end = time.monotonic() + seconds
        for runner in self._runners:
            runner.join(max(0.0, end - time.monotonic()))
        return self.ended
