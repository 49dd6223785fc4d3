"""A stream of bytes as lines of bounded length, which can be looked at before they are taken."""

from __future__ import annotations

import codecs
from collections import deque
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE_BYTES = 16 << 20
"""The longest line that is read; what is beyond is skipped, and the row is an error."""


class Lines:
    """The lines of a binary stream, with their ends. A byte-order mark at the stream's very beginning is left out.

    Attributes:
        position: how many bytes of the stream the lines taken so far are.
        copy: is called with every line that is taken.
    """

    def __init__(self, stream: IO[bytes], *, at_start: bool = True) -> None:
        self._stream = stream
        self._at_start = at_start
        self._ahead: deque[tuple[bytes, int]] = deque()
        self.position = 0
        self.copy: Callable[[bytes], Any] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Take each line once."""
        while (line := self.look(0)) is not None:
            self.take(1)
            yield line

    def look(self, places: int) -> bytes | None:
        """The line so many places after the next one, which stays where it is; None if there is none."""
        while len(self._ahead) <= places:
            line, size = self._read()
            if not size:
                return None
            self._ahead.append((line, size))
        return self._ahead[places][0]

    def take(self, count: int) -> None:
        """Take so many of the lines that were looked at."""
        for _ in range(count):
            line, size = self._ahead.popleft()
            self.position += size
            if self.copy:
                self.copy(line)

    def _read(self) -> tuple[bytes, int]:
        """The next line, cut where it is too long, and how many bytes of the stream it is; 0 at the end."""
        line = self._stream.readline(LINE_BYTES)
        size = len(line)
        if size == LINE_BYTES and not line.endswith(b"\n"):
            line = line[:-1] + b"\n"
            size += self._skip()
        if self._at_start:
            line = line.removeprefix(codecs.BOM_UTF8)
            self._at_start = False
        return line, size

    def _skip(self) -> int:
        """Skip what is left of a line; how many bytes that were."""
        skipped = 0
        while rest := self._stream.readline(LINE_BYTES):
            skipped += len(rest)
            if rest.endswith(b"\n"):
                break
        return skipped
