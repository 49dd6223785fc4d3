"""From signal to exit: NOT_SERVING, a while of taking calls still, drain, exit; a second signal ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from munjang_server.front import Front

SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("munjang.server")


class Stop:
    """Hears the signals that end the server. Make it on the event loop, in the main thread."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.signal = signal.SIGTERM
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._hear, number)

    async def wait(self) -> None:
        """Return when a signal was heard."""
        await self._asked.wait()

    def _hear(self, number: signal.Signals) -> None:
        self.signal = number
        self._asked.set()
        loop = asyncio.get_running_loop()
        for each in SIGNALS:  # from now on without the event loop, so that it works also where that is stuck
            loop.remove_signal_handler(each)
            signal.signal(each, _end_at_once)


async def drain(front: Front, *, seconds: float, lame_duck: float) -> bool:
    """Stop a server within `seconds`, the lame-duck time included; whether all calls in flight were answered."""
    end = time.monotonic() + seconds
    front.health.drain()
    await asyncio.sleep(min(lame_duck, seconds))
    in_time = await front.stop(max(0.0, end - time.monotonic()))
    if in_time:
        log.info("drained")
    else:
        log.warning("calls were cut off: they took longer than the drain", drain_seconds=seconds)
    return in_time


def _end_at_once(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
    os._exit(128 + number)
