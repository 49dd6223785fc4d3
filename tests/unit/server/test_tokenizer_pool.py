"""The bounded threads: what they refuse, and how long a version stays for them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from munjang.errors import Overloaded
from munjang_server.tokenizer_pool import TokenizerPool


class CountedLease:
    """A lease whose shares are counted."""

    def __init__(self):
        self.shared = self.released = 0

    def share(self):
        self.shared += 1
        return self

    def release(self):
        self.released += 1


@pytest.fixture
def lease():
    return CountedLease()


async def test_a_function_runs_on_a_thread_of_its_own(lease):
    workers = TokenizerPool(1)
    assert await workers.run(lease, threading.get_ident) != threading.get_ident()
    workers.close()
    assert (lease.shared, lease.released) == (1, 1)


async def test_an_error_reaches_the_caller(lease):
    workers = TokenizerPool(1)
    with pytest.raises(ValueError, match="한국어"):
        await workers.run(lease, int, "한국어")
    workers.close()
    assert lease.released == 1


async def test_more_than_may_wait_is_refused_at_once(lease):
    workers, gate = TokenizerPool(1, waiting=1), threading.Event()
    running = [asyncio.create_task(workers.run(lease, gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await workers.run(lease, gate.wait)
    assert caught.value.retry_after
    gate.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await workers.run(lease, gate.wait)
    workers.close()
    assert lease.shared == lease.released == 3


async def test_the_lease_is_held_until_the_thread_ends_also_where_the_caller_has_gone(lease):
    workers, begun, gate = TokenizerPool(1), threading.Event(), threading.Event()

    def work():
        begun.set()
        gate.wait()

    running = asyncio.create_task(workers.run(lease, work))
    waiting = asyncio.create_task(workers.run(lease, work))
    assert await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert lease.released == 1  # the one that had not begun
    gate.set()
    workers.close()
    assert lease.released == 2
