"""How much memory there is for one more model, and giving it back to the system after one was closed."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NEEDED = 2.0
"""Memory that loading takes, as a multiple of the files, whose pages stand beside the weights for a while."""


def room_for(size_bytes: int) -> bool:
    """Whether a model of that size can be loaded beside what is resident; True where the system does not tell."""
    available = available_bytes()
    return available is None or available > NEEDED * size_bytes


def available_bytes() -> int | None:
    """Memory that can be had without swapping, within the container's limit; None where the system does not tell."""
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
        return  # another C library: it has no such call, and no such habit


def _system_available(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else int(kib) * 1024


def _container_available(cgroup: Path = CGROUP) -> int | None:
    try:
        limit = (cgroup / "memory.max").read_text("ascii").strip()
        current = int((cgroup / "memory.current").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - current)
