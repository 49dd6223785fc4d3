"""Calls that run in the background, and their results.

For `munjang demo`, and for tests that do something to a server while it is called.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from munjang.cli.console import stderr
from munjang.errors import MunjangError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from munjang.client import Client

SHOWN_SECONDS = 0.2
"""How often the moving line changes."""


class Callers:
    """Threads that call encode in a loop; use it in a `with` statement.

    Args:
        client: calls the server.
        texts: what each call encodes.
        count: how many threads.
        version: the version that each call asks for; empty for what the server serves.

    Attributes:
        answered: how many replies each version gave.
        failures: the calls that failed, by reason.
        slowest: seconds of the slowest reply.
    """

    def __init__(self, client: Client, texts: Sequence[str], count: int = 2, version: int | str = "") -> None:
        self._client = client
        self._texts = list(texts)
        self._version = version
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._call, name="munjang-caller") for _ in range(count)]
        self.answered: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.slowest = 0.0

    def __repr__(self) -> str:
        return f"Callers(answered={dict(self.answered)}, failures={dict(self.failures)}, slowest={self.slowest:.2f} s)"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Start no more calls, and wait for the running ones."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def calls(self) -> int:
        """How many calls have ended."""
        return self.answered.total() + self.failures.total()

    def summary(self) -> str:
        """How many calls ended, failed, and were answered by each version."""
        by = ", ".join(f"{count} by version {version}" for version, count in sorted(self.answered.copy().items()))
        return f"{self.calls} calls, {self.failures.total()} failed; {by}"

    @contextmanager
    def shown(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Tell the summary all the time, if a terminal shows it as one moving line."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(SHOWN_SECONDS):
                tell(self.summary())
            tell("")

        if not stderr().is_terminal:
            yield
            return
        thread = threading.Thread(target=show, name="munjang-shown")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def wait(self, version: int, replies: int, seconds: float) -> bool:
        """Wait until a version has given `more` further replies; whether it did in time."""
        enough = self.answered[version] + replies
        with self._changed:
            return self._changed.wait_for(lambda: self.answered[version] >= enough, seconds)

    def _call(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                found = self._client.encode(self._texts, version=self._version)
            except MunjangError as error:
                with self._changed:
                    self.failures[error.reason] += 1
                self._ended.wait(0.1)  # a server that is gone is not to be hammered
                continue
            with self._changed:
                self.answered[found.version] += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self._changed.notify_all()
