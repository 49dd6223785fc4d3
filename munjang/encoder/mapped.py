"""The file of a graph's weights, mapped into memory: of what the system has read of it, only what is needed stays.

OpenVINO keeps compiled weights in a form of its own. For each new shape it reads those in the file once more, and never
again for that shape. But of a table, which token ids look up, each forward reads some rows.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
import openvino

from munjang.encoder.nodes import constant, kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Mapped:
    """A file's bytes, which must outlive the graph and what is compiled of it.

    Args:
        file: its path.

    Attributes:
        tensor: the bytes: uint8 [size of the file].

    Raises:
        OSError, ValueError: it cannot be mapped, or is empty.
    """

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)  # a tensor must be writable; nobody does
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._unused = [(0, len(self._map))]
        self.tensor = openvino.Tensor(self._bytes, shared_memory=True)

    def keep_tables(self, graph: openvino.Model) -> None:
        """Keep what this graph looks up when the rest is let go."""
        tables = sorted((start, start + size) for start, size in self._tables(graph))
        starts = [0, *(_up(end) for _, end in tables)]
        ends = [*(start - start % mmap.PAGESIZE for start, _ in tables), len(self._map)]
        self._unused = [(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]

    def let_go(self, *, tables: bool = False) -> None:
        """Let the system have the pages of all but the tables, or of these too; who needs them reads the file again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for start, size in [(0, len(self._map))] if tables else self._unused:
                self._map.madvise(mmap.MADV_DONTNEED, start, size)

    def _tables(self, graph: openvino.Model) -> Iterator[tuple[int, int]]:
        """Where in the file each table begins, and its size in bytes."""
        for node in graph.get_ordered_ops():
            table = constant(node, 0) if kind(node) == "Gather" else None
            if table is not None:
                start = table.ctypes.data - self._bytes.ctypes.data
                if 0 <= start < len(self._map):
                    yield start, table.nbytes


def _up(place: int) -> int:
    """The beginning of the next page."""
    return -(-place // mmap.PAGESIZE) * mmap.PAGESIZE
