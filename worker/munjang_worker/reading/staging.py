"""Copies of parts of a compressed file in the output folder, one for each shard, compressed again."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

if TYPE_CHECKING:
    from types import TracebackType

    from munjang_worker.storage import Folder

STAGED = ".munjang/input"
"""Where the copies are kept until the job has ended."""


class Stage:
    """Writes one part after another: set `name`, write, finish. A part that is given up in the middle goes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._open: ExitStack | None = None
        self._stream: Any = None
        self.name = ""

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give an unfinished part up."""
        if self._open:
            self._open.__exit__(kind, error, traceback)

    def write(self, data: bytes) -> None:
        """Write to the part in hand."""
        if self._open is None:
            self._open = ExitStack()
            path = self._open.enter_context(self._folder.create(self.name))
            self._stream = self._open.enter_context(pa.CompressedOutputStream(str(path), "zstd"))
        self._stream.write(data)

    def finish(self) -> str:
        """Commit the part; its name, or "" if nothing was written."""
        if self._open is None:
            return ""
        stack, self._open = self._open, None
        stack.close()
        return self.name
