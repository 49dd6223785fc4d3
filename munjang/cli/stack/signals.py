"""Signals to stop: the first asks to end in order, a second to end at once. Ends nothing itself."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Catches signals in a `with` statement, which the main thread must enter.

    Attributes:
        asked: set once everything should end.
        impatient: set by a second signal.
        first: the first signal; SIGTERM before any.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.impatient = threading.Event()
        self.first = signal.SIGTERM

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_status(self) -> int:
        """The status of a program that the signal ended before it was done."""
        return 128 + self.first

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked.is_set():
            self.impatient.set()
        else:
            self.first = signal.Signals(number)
            self.asked.set()
