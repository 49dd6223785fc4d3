"""One child process: started in a session of its own, its output in a log, ended within a time or killed."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from munjang.cli.stack.guard import Guard

TAIL_LINES = 12
TAIL_BYTES = 16_384


class Child:
    """A running child.

    A session of its own keeps the terminal's Ctrl-C from it: its parent ends it, in order.

    Attributes:
        name: what people call it.
        once: whether it may end by itself.
        log: the file of its output.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        guard: Guard,
        *,
        once: bool = False,
    ) -> None:
        """Start it; one that does its work `once` may end by itself, and its standard output is piped to `output`."""
        self.name = name
        self.once = once
        self.log = log
        self._guard = guard
        self._told = False
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if once else file,
                stderr=file,
                env=os.environ | environment,
                start_new_session=True,
            )
        guard.started(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """Its standard output, where it works once."""
        assert self._process.stdout is not None  # noqa: S101 - `once` pipes it
        return self._process.stdout

    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        status = self._process.poll()
        if status is not None and not self._told:
            self._told = True
            self._signal(signal.SIGKILL)  # whatever it left of its group
            self._guard.ended(self._process.pid)
        return status

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end."""
        if self.status() is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.status() is not None

    def kill(self) -> None:
        """End it and its group at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.status()

    def tail(self) -> list[str]:
        """The last lines of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return lines[-TAIL_LINES:]

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
