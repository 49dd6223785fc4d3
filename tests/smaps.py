"""What of a mapped file is in memory for this process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SMAPS = Path("/proc/self/smaps")

needs_smaps = pytest.mark.skipif(not SMAPS.exists(), reason="there is no smaps to read")


def resident(file):
    """Bytes of the file."""
    found, own = 0, False
    for line in SMAPS.read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            own = line.endswith(f" {file}")
        elif own and line.startswith("Rss:"):
            found += 1024 * int(line.split()[1])
    return found
