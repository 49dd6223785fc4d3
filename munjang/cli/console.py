"""Where the command line prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or pipe."""

PATIENCE_SECONDS = 2.0
"""What takes longer shows a progress bar."""


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
    """Say something to the person at the terminal that is no result."""
    stderr().print(escape(message), style="dim")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, Hangul as it is."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Give a function to be told how much more is done; a bar appears where it takes over two seconds.

    Nothing is drawn where standard error is no terminal.
    """
    console = stderr()
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
    bar = Progress(*columns, MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task(title, total=total)
    begun = time.monotonic()

    def advance(amount: float) -> None:
        bar.advance(task, amount)
        if console.is_terminal and not bar.live.is_started and time.monotonic() - begun > PATIENCE_SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Give a function to be told what happens now: a moving line on a terminal, lines elsewhere; "" ends the line."""
    console = stderr()
    if not console.is_terminal:
        yield lambda message: note(message) if message else None
        return
    status = console.status("")

    def tell(message: str) -> None:
        status.update(escape(message))
        if message:
            status.start()
        else:
            status.stop()

    try:
        yield tell
    finally:
        status.stop()


def shorten(text: str, width: int) -> str:
    """The text in one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
