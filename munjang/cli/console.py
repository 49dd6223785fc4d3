"""Where the command line prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from munjang.errors import ConfigurationError, MunjangError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or pipe."""

PROGRESS_AFTER_SECONDS = 2.0
"""Seconds after which a progress bar appears."""


class CheckedStream:
    """A standard stream whose errors are reported in one line, or not at all.

    Args:
        stream: the stream; None where the program was started with a closed one.
        name: what to call it in an error; empty for a stream whose errors are ignored.
    """

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            MunjangError: the stream is closed, its disk full or its reader gone.
        """
        if self._stream is None:
            self._fail("it is closed")
        else:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error.strerror)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered; raises as `write` does."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error.strerror)

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fail(self, reason: str | None) -> None:
        """Discard what is buffered, and all that follows: Python writes it once more at its end."""
        if self._stream is not None:
            with suppress(OSError, ValueError):  # not a file
                number = self._stream.fileno()
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
        if self._name:
            msg = f"{self._name} cannot be written: {reason}"
            raise MunjangError(msg)


@contextmanager
def checked_streams() -> Iterator[None]:
    """Replace standard output and standard error by checked streams."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = CheckedStream(sys.stdout, "standard output"), CheckedStream(sys.stderr, "")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def read_stdin() -> bytes:
    """All of standard input.

    Raises:
        ConfigurationError: it is closed, or cannot be read.
    """
    if sys.stdin is None:
        msg = "standard input is closed"
        raise ConfigurationError(msg)
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        msg = f"standard input cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from error


def stdout() -> Console:
    """The console of results."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def stderr() -> Console:
    """The console of progress and errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """Say in one line what went wrong."""
    line = " ".join(message.split())
    stderr().print(f"[bold red]error:[/] {escape(line)}")


def note(message: str) -> None:
    """Print something to standard error that is not a result."""
    stderr().print(escape(message), style="dim")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, Hangul as it is."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Yield a function that takes how much more is done; a bar appears after two seconds.

    Nothing is drawn if standard error is not a terminal.
    """
    console = stderr()
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
    bar = Progress(*columns, MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task(title, total=total)
    begun = time.monotonic()

    def advance(amount: float) -> None:
        bar.advance(task, amount)
        if console.is_terminal and not bar.live.is_started and time.monotonic() - begun > PROGRESS_AFTER_SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Give a function to be told what happens now, which is shown with the seconds since the beginning.

    A moving line on a terminal, lines elsewhere; "" ends the line.
    """
    console = stderr()
    if not console.is_terminal:
        begun = time.monotonic()
        yield lambda message: note(f"{message} ({time.monotonic() - begun:.0f} s)") if message else None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    line = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
    task = line.add_task("")

    def tell(message: str) -> None:
        line.update(task, description=message)
        if message:
            line.start()
        else:
            line.stop()

    try:
        yield tell
    finally:
        line.stop()


def shorten(text: str, width: int) -> str:
    """The text in one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
