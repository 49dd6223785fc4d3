"""How the process ends once everything is closed. What is closed, and in which order, is `app`'s."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import NoReturn

import structlog

OURS = "munjang-"
"""How the names of our threads begin."""

log = structlog.get_logger("munjang.server")


def leave(status: int) -> NoReturn:
    """End the process with a status.

    Where a thread of ours is still inside a library, in a load or a forward that was abandoned, Python's own way out
    could wait for it or crash in it. Nothing that such a thread does needs to be finished: readers of the cache and the
    registry believe nothing, so the process ends under it.
    """
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(OURS)]
    if not left:
        raise SystemExit(status)
    log.info("ended without waiting", threads=left)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
