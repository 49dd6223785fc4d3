"""Child processes: started apart from the terminal, watched, asked to end and then killed, ended with their parent.

A child leads a process group, so the processes that it starts end with it. An `OrphanReaper` ends the children of a
parent that was killed: it is a process that only reads a pipe from the parent. The callers decide what to start, and
what to do when a child has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

GRACE_SECONDS = 8.0
"""Between SIGTERM and SIGKILL, for orphans."""

POLL_SECONDS = 0.1
"""How often to check a child that should end."""

TAIL_LINES = 12
TAIL_BYTES = 16_384


class ChildProcess:
    """A running child. Every method may be called from any thread.

    Args:
        command: its command line.
        name: for logs and messages.
        environment: added to this process's own.
        log: its standard error, and its standard output unless that is piped, are appended there; None: they are ours.
        piped: pipe its standard output to `stdout`.
        fed: pipe its standard input from `stdin`; else it is empty.
        session: give it a session of its own, not only a group. Both keep the terminal's Ctrl-C from it, but Linux may
            share out the processor by session before it looks at priorities.
        reaper: ends it if this process is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        piped: bool = False,
        fed: bool = False,
        session: bool = True,
        reaper: OrphanReaper | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._reaper = reaper
        self._cleared = False
        file = log.open("ab") if log else None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our caller's, not a user's
                command,
                stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else file,
                stderr=file,
                env=os.environ | (environment or {}),
                start_new_session=session,
                process_group=None if session else 0,
            )
        finally:
            if file:
                file.close()
        if reaper:
            reaper.started(self.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to its standard input."""
        assert self._process.stdin is not None  # noqa: S101 - for those who asked for it
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from its standard output."""
        assert self._process.stdout is not None  # noqa: S101 - for those who asked for it
        return self._process.stdout

    def status(self) -> int | None:
        """Its exit status, or None while it runs. Once it has ended, what it left of its group is killed."""
        status = self._process.poll()
        if status is not None and not self._cleared:
            self._cleared = True
            _signal_group(self.pid, signal.SIGKILL)
            if self._reaper:
                self._reaper.ended(self.pid)
        return status

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, by default to end, if it still runs."""
        if self.status() is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it ended in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.status() is not None

    def kill(self) -> None:
        """End it and its group at once."""
        if self.status() is None:
            _signal_group(self.pid, signal.SIGKILL)
            self._process.wait()
            self.status()

    def tail(self) -> list[str]:
        """The last lines of its log."""
        if self.log is None:
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return lines[-TAIL_LINES:]

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Kill it, and close its pipes."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):  # it ended before it read all
                    pipe.close()


def stop(
    children: Sequence[ChildProcess],
    seconds: float,
    *,
    number: int = signal.SIGTERM,
    impatient: Callable[[], bool] = lambda: False,
) -> None:
    """Ask all children to end; kill those that still run after some seconds, or as soon as the caller asks for it."""
    for child in children:
        child.ask(number)
    deadline = time.monotonic() + seconds
    for child in children:
        while not child.wait(POLL_SECONDS):
            if time.monotonic() > deadline or impatient():
                child.kill()


class OrphanReaper:
    """Ends the children of this process if it is killed.

    It reads `+PID` for each process group that was started and `-PID` for each that has ended. When the pipe closes, by
    an orderly exit or by SIGKILL, it asks the groups that are left to end, and kills them if they do not.
    """

    def __init__(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "munjang.child_process"],
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
        """End what has not ended, and the reaper."""
        self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        return self._process.stdin

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the reaper was killed; the parent still ends its children itself
            self._pipe.write(line.encode())
            self._pipe.flush()


def reap_orphans(lines: Iterable[str]) -> None:
    """Read from the parent until it is gone, then end the groups that it left."""
    groups: set[int] = set()
    for line in lines:
        change, pid = line[0], int(line[1:])
        if change == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    deadline = time.monotonic() + GRACE_SECONDS
    for group in groups:
        _signal_group(group, signal.SIGTERM)
    while any(_signal_group(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    reap_orphans(sys.stdin)
