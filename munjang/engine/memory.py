"""How much memory is available for one more model, and how to return it to the system after a model was closed."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NEEDED = 2.0
"""Memory that loading takes, as a multiple of the files, whose pages stand beside the weights for a while."""


def room_for(size_bytes: int) -> bool:
    """Whether a model of that size can be loaded beside what is resident; True if the system does not report it."""
    available = available_bytes()
    return available is None or available > NEEDED * size_bytes


def available_bytes() -> int | None:
    """Memory that can be had without swapping, within the container's limit; None if the system does not report it."""
    found = [value for value in (_system_available(), _container_available()) if value is not None]
    return min(found) if found else None


def give_back() -> None:
    """Return freed memory to the system; without it glibc keeps a closed model's pages for itself.

    A collection stops every thread of Python for as long as it takes to look at all objects, so it is only made where
    it is needed: torch's models are cycles of objects, OpenVINO's are not.
    """
    if "torch" in sys.modules:
        gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library: it has no such call, and does not keep the pages


def _system_available(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else int(kib) * 1024


def _container_available(cgroup: Path = CGROUP) -> int | None:
    """By the limit of the container (cgroup v2, else v1). Inactive pages of cached files do not count."""
    v2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
    v1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")
    for limit_file, usage_file, stat_file, inactive in (v2, v1):
        try:
            limit = (cgroup / limit_file).read_text("ascii").strip()
            if limit == "max":
                return None
            cached = _figure(cgroup / stat_file, inactive)
            return max(0, int(limit) - max(0, int((cgroup / usage_file).read_text("ascii")) - cached))
        except (OSError, ValueError):
            continue
    return None


def _figure(stat: Path, name: str) -> int:
    """One figure of a memory.stat, in bytes; 0 where there is none."""
    with suppress(OSError):
        for line in stat.read_text("ascii").splitlines():
            found, _, value = line.partition(" ")
            if found == name:
                return int(value)
    return 0
