"""Who may call, and how much: TLS with certificates that reload, bearer tokens, permissions and rate limits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FileStamp = tuple[tuple[int, int, int], ...]
"""Inode, size and modification time of each file; a different stamp means different contents."""


def file_stamp(paths: Iterable[str]) -> FileStamp:
    """The present stamp of files that may be replaced while the server runs.

    Follows links, because Kubernetes replaces secrets by moving one.

    Raises:
        OSError: one of them cannot be found.
    """
    states = [os.stat(path) for path in paths]  # noqa: PTH116 - once a connection or a second: the shortest way
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)
