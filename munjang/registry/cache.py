"""Which copies of remote versions go when another one is fetched: those that nobody has used for longest.

What an alias of the registry names, or could roll back to, stays; so does what the caller has loaded, and what any
process of this machine used within the last hour, for it may be loading it. Fetching is left to `fetch`.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from munjang.errors import RegistryUnavailable
from munjang.registry.aliases import read_aliases

if TYPE_CHECKING:
    from collections.abc import Collection

    from munjang.registry.local import LocalStorage
    from munjang.registry.store import Registry

KEPT: Final = 4
"""How many copies stay where nobody says."""

UNUSED_SECONDS: Final = 3600.0
"""A copy that was used more recently stays, whatever else is there: no load takes as long."""

_NAME: Final = re.compile(r"\.?([0-9]+)-[0-9a-f]{24}(\.partial)?")

_log = logging.getLogger(__name__)


def mark_used(copies: LocalStorage, name: str) -> None:
    """Note that a copy is used now."""
    with suppress(OSError):  # a cache that others filled, and that this process may only read
        os.utime(copies.path(name))


def make_room(copies: LocalStorage, registry: Registry, most: int, loaded: Collection[int]) -> None:
    """Remove copies until one more makes `most`, and what downloads that were killed left behind.

    Args:
        copies: the cache, which processes and registries may share.
        registry: whose aliases protect what they name; if one of them cannot be read, nothing is removed.
        most: copies that stay, the one to come counted. More stay where aliases or recent use protect them.
        loaded: versions that stay too.

    Raises:
        RegistryUnavailable: the aliases or the cache cannot be read.
    """
    found = {name: match for name in copies.children(".") if (match := _NAME.fullmatch(name))}
    whole = sorted((name for name in found if not name.startswith(".")), key=lambda name: _used(copies, name))
    spare = whole[: max(0, len(whole) + 1 - most)]
    left_behind = [name for name in found if name.startswith(".")]
    if not spare and not left_behind:
        return
    records, problems = read_aliases(registry.storage)
    if problems:
        return
    kept = {*loaded, *(number for record in records.values() for number in (record.version, record.previous))}
    for name in (*spare, *left_behind):
        recent = time.time() - _used(copies, name) < UNUSED_SECONDS
        if not recent and (name in left_behind or int(found[name][1]) not in kept):
            _remove(copies, name)


def _used(copies: LocalStorage, name: str) -> float:
    """When a copy was used last, in seconds since the epoch; 0 if it is gone."""
    try:
        return copies.path(name).stat().st_mtime
    except OSError:
        return 0.0


def _remove(copies: LocalStorage, name: str) -> None:
    """Remove a copy, unless another process downloads it just now."""
    whole = name.removeprefix(".").removesuffix(".partial")
    with suppress(RegistryUnavailable), copies.lock(f"{whole}.lock", 0):
        copies.remove(name)
        _log.info("removed %s from the cache: it was not used for longest", name)
