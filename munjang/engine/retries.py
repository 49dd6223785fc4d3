"""When a version that failed to load is tried again: later each time, and at once when an alias is moved to it anew."""

from __future__ import annotations

import threading
import time

FIRST = 5.0
LONGEST = 300.0


class Retries:
    """Failed versions and the times of their next tries, in seconds of the monotonic clock. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delays: dict[int, float] = {}
        self._due: dict[int, float] = {}

    def failed(self, version: int) -> None:
        """Wait before the next try: five seconds at first, twice as long each time, five minutes at most."""
        with self._lock:
            delay = min(LONGEST, 2 * self._delays[version]) if version in self._delays else FIRST
            self._delays[version] = delay
            self._due[version] = time.monotonic() + delay

    def forget(self, version: int) -> None:
        """The version may be tried at once."""
        with self._lock:
            self._delays.pop(version, None)
            self._due.pop(version, None)

    def waiting(self) -> set[int]:
        """The versions that are not to be tried now."""
        now = time.monotonic()
        with self._lock:
            return {version for version, due in self._due.items() if due > now}

    def seconds_to_next(self) -> float | None:
        """Until the next try is due; None if none is waiting."""
        now = time.monotonic()
        with self._lock:
            return max(0.0, min(self._due.values()) - now) if self._due else None
