"""The program's side: starts a process that converts, waits for it within a time, and gives back its error.

Its standard input stays open while it is wanted: when that closes, because the program ended in whatever way, it ends.
Its standard error is the program's own, so its log lines come out among the program's.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from munjang.engine.converting.order import Order, Outcome
from munjang.errors import ModelLoadFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from munjang.encoder.load import LoadOptions

SECONDS = 1800.0
"""A conversion that takes longer is given up; a large model beside a busy server takes minutes."""

COMMAND = (sys.executable, "-P", "-m", "munjang.engine.converting")


class ConvertingProcess:
    """Converts models, one at a time, each in a new process. `stop` may be called from any thread.

    Args:
        seconds: how long one may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def convert(self, folder: Path, options: LoadOptions, *, gently: bool) -> None:
        """Make the export that the options name; `gently`: others are being served meanwhile.

        Raises:
            ModelError, ConfigurationError: as `encoder.converting.convert` raised it there.
            ModelLoadFailed: the process was ended, by `stop` or by somebody else, or took too long.
        """
        order = Order.of(folder, options, gently=gently)
        with self._running() as process:
            assert process.stdin is not None  # noqa: S101 - asked for below
            assert process.stdout is not None  # noqa: S101 - the same
            with suppress(BrokenPipeError):  # it ended already; its status says why
                process.stdin.write(order.model_dump_json().encode() + b"\n")
            try:
                status = process.wait(self._seconds)
            except subprocess.TimeoutExpired as error:
                msg = f"converting the model took more than {self._seconds:g} s"
                raise ModelLoadFailed(msg) from error
            said = process.stdout.read()
        if self._stopped:
            msg = "converting the model was stopped"
            raise ModelLoadFailed(msg)
        if status != 0:
            msg = f"the process that converts the model ended {_how(status)}"
            raise ModelLoadFailed(msg)
        Outcome.model_validate_json(said).check()

    def stop(self) -> None:
        """End the one that runs, and let none begin any more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    @contextmanager
    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process, ended at the end, whatever the end is.

        A group of its own keeps a terminal's Ctrl-C from it. A session of its own would give it as much of the
        processor as its program has, however low its priority: Linux may share out by session first.
        """
        with self._lock:
            if self._stopped:
                msg = "converting the model was stopped"
                raise ModelLoadFailed(msg)
            process = self._process = subprocess.Popen(  # noqa: S603 - our own module
                COMMAND, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        with process:
            try:
                yield process
            finally:
                process.kill()
                with self._lock:
                    self._process = None


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "by SIGKILL, as it does where memory is short"
    return f"with status {status}"
