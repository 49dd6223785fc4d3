"""A bounded thread pool for work that would block the event loop: tokenising and packing of large requests."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from munjang.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.engine.contract import Lease

P = ParamSpec("P")
T = TypeVar("T")

WAITING_PER_THREAD = 64
"""How many pieces of work may wait for each thread before more is refused."""


class TokenizerPool:
    """Threads for one event loop. If too much work waits for them, more is refused at once.

    Args:
        threads: how many pieces of work run at a time.
        waiting: how many pieces of work may wait; None takes WAITING_PER_THREAD for each thread.
    """

    def __init__(self, threads: int, waiting: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="munjang-text")
        self._room = threading.Semaphore(threads + (WAITING_PER_THREAD * threads if waiting is None else waiting))

    async def run(self, lease: Lease, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a thread. The version stays loaded until it ends, even if the caller has gone by then.

        Raises:
            Overloaded: too much is waiting already.
        """
        if not self._room.acquire(blocking=False):
            msg = "too many large requests are waiting to be tokenised"
            raise Overloaded(msg, retry_after=1.0)
        share = lease.share()
        future = self._pool.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self._done(share))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the threads; work that has not started is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, share: Lease) -> None:
        share.release()
        self._room.release()
