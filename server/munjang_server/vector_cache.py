"""Raw vectors that were computed before, by version and content: bounded in bytes, the longest unused leave first.

Knows nothing of calls; `recall` asks it. Every method may be called from any thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENTRY_BYTES = 640
"""What an entry takes besides its components: array, key and the tables that hold them."""


class VectorCache:
    """Vectors float32 [D] by version and key.

    Args:
        max_bytes: the most bytes of all entries together, `ENTRY_BYTES` for each included.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._rows: LRUCache[tuple[int, bytes], NDArray[np.float32]] = LRUCache(max_bytes, getsizeof=_size)

    def get(self, version: int, key: bytes) -> NDArray[np.float32] | None:
        """The vector, not to be written to, or None; it counts as used now."""
        with self._lock:
            return self._rows.get((version, key))

    def put(self, version: int, key: bytes, row: NDArray[np.float32]) -> int:
        """Keep a copy of a vector float32 [D]; returns how many others had to leave for it.

        One that is larger than the whole cache is left out.
        """
        if _size(row) > self._rows.maxsize:
            return 0
        with self._lock:
            there = len(self._rows) + ((version, key) not in self._rows)
            self._rows[version, key] = row.copy()
            return there - len(self._rows)

    def drop(self, version: int) -> None:
        """Forget all vectors of a version."""
        with self._lock:
            for key in [key for key in self._rows if key[0] == version]:
                del self._rows[key]

    @property
    def bytes(self) -> int:
        """Bytes of all entries."""
        return int(self._rows.currsize)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._rows)


def _size(row: NDArray[np.float32]) -> int:
    return row.nbytes + ENTRY_BYTES
