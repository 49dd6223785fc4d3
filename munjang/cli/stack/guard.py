"""Ends the children of a parent that was killed: a process of its own, which only reads a pipe from the parent.

The parent writes `+PID` for each process group that it starts and `-PID` for each that has ended. When the pipe closes,
by an orderly exit or by SIGKILL, the groups that are left are asked to end, and killed if they do not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO

GRACE_SECONDS = 8.0
"""Between SIGTERM and SIGKILL."""


class Guard:
    """The parent's end of the pipe."""

    def __init__(self) -> None:
        """Start the guard."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "munjang.cli.stack.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def started(self, pid: int) -> None:
        """A process group was started."""
        self._write(f"+{pid}\n")

    def ended(self, pid: int) -> None:
        """A process group has ended."""
        self._write(f"-{pid}\n")

    def close(self) -> None:
        """End the guard, and with it what has not ended."""
        self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        return self._process.stdin

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed the guard; the parent still ends its children itself
            self._pipe.write(line.encode())
            self._pipe.flush()


def watch(lines: IO[str]) -> None:
    """Read until the parent is gone, then end what it left."""
    groups: set[int] = set()
    for line in lines:
        change, pid = line[0], int(line[1:])
        if change == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    deadline = time.monotonic() + GRACE_SECONDS
    _signal(groups, signal.SIGTERM)
    while any(map(_alive, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch(sys.stdin)
