"""Ports for what tests start, which nobody else is given meanwhile.

A port that was found free and let go may be taken before the program that was told it listens on it: by a server on a
port of the system's choice, or by an outgoing connection. These ports lie below the range from which Linux gives both,
and each process of pytest walks through a part of its own.
"""

from __future__ import annotations

import itertools
import os

from munjang.cli.stack import plan as ports
from munjang.errors import ConfigurationError

FIRST, SIZE, PARTS = 12_000, 1_250, 16
"""From which port on, how many for each process of pytest, and for how many processes."""

_part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
_steps = itertools.count(os.getpid())  # another run on this machine begins elsewhere


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this function gives again only after all others."""
    for step in itertools.islice(_steps, SIZE):
        port = FIRST + _part * SIZE + step % SIZE
        try:
            ports.check_free(ports.LOOPBACK, port)
        except ConfigurationError:
            continue
        return port
    msg = f"no port of {SIZE} is free"
    raise AssertionError(msg)
