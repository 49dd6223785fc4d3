"""Files that may be replaced while the server runs: certificates and tokens, noticed by their times."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Stamp = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change of each file; another stamp means other contents."""


def stamp(paths: Iterable[str]) -> Stamp:
    """Where the files stand now. Follows links, as Kubernetes replaces secrets by moving one.

    Raises:
        OSError: one of them cannot be found.
    """
    states = [os.stat(path) for path in paths]  # noqa: PTH116 - once a connection or a second: the shortest way
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)
