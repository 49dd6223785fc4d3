"""How a server stops: report NOT_SERVING, accept calls for a while, drain, exit. A second signal stops it at once.

`app` decides what is closed and in which order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang_server.rpc.services import Services

SIGNALS = (signal.SIGTERM, signal.SIGINT)
THREAD_PREFIX = "munjang-"
"""How the names of the server's own threads begin."""

log = structlog.get_logger("munjang.server")


class StopSignal:
    """Waits for the signals that end the server. Create it on the event loop, in the main thread."""

    def __init__(self) -> None:
        self._received = asyncio.Event()
        self.signal = signal.SIGTERM
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._receive, number)

    async def wait(self) -> None:
        """Return when a signal was received."""
        await self._received.wait()

    def _receive(self, number: signal.Signals) -> None:
        self.signal = number
        self._received.set()
        loop = asyncio.get_running_loop()
        for each in SIGNALS:  # from now on without the event loop, so that it works even if the loop is stuck
            loop.remove_signal_handler(each)
            signal.signal(each, _exit_at_once)


class Server(Protocol):
    """One door of the server."""

    async def stop(self, seconds: float) -> None:
        """Take no new calls, and cut off those that are in flight after `seconds`."""


async def drain(services: Services, doors: Sequence[Server], *, seconds: float, lame_duck: float) -> bool:
    """Stop a server within `seconds`, the lame-duck time included; whether all calls in flight were answered."""
    end = time.monotonic() + seconds
    services.health.drain()
    await asyncio.sleep(min(lame_duck, seconds))
    left = max(0.0, end - time.monotonic())
    stopping = [asyncio.create_task(door.stop(left)) for door in doors]
    in_time = await services.drained(left)
    await asyncio.gather(*stopping)  # once only: a second stop of gRPC beside the first can crash inside it
    await services.close()
    if in_time:
        log.info("drained")
    else:
        log.warning("calls were cut off: they took longer than the drain", drain_seconds=seconds)
    return in_time


def _exit_at_once(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
    os._exit(128 + number)


def exit_process(status: int) -> NoReturn:
    """End the process with a status.

    If one of the server's threads is still inside a library, in a load or a forward that was abandoned, Python's
    normal exit could wait for it or crash in it. Nothing that such a thread does needs to be finished: readers of the
    cache and the registry verify what they read, so the process ends under it.
    """
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)]
    if not left:
        raise SystemExit(status)
    log.info("exiting without waiting for threads", threads=left)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
