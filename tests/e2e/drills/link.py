"""A network between two processes of this machine that is slow, narrow or dead: a TCP proxy on the loopback.

Bytes are held back, never lost: what a real network loses, TCP sends again. The test says when; nothing here is random.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

CHUNK = 16 * 1024
IN_FLIGHT = 64
"""Chunks that may be on their way in one direction."""


class Link:
    """Listens on a port of its own and passes on what comes; use it in a `with` statement.

    Attributes:
        port: where it listens.
        server_port: where it leads; a new one is for new connections, those that stand are cut by `cut`.
        delay: seconds that every byte takes, each way.
        rate: bytes a second, each way and connection; 0 is no limit.
    """

    def __init__(self, server_port, *, delay=0.0, rate=0.0):
        self.server_port = server_port
        self.delay = delay
        self.rate = rate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link")
        self._writers = set()
        self._tasks = set()

    @property
    def target(self):
        """Its address for a client."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread.start()
        self.port = self._run(self._listen())
        return self

    def __exit__(self, *_):
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hold(self):
        """Let nothing through from now on, without a word to either end."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self):
        """Let everything through again, first what was held back."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self):
        """Reset all connections that stand."""
        self._run(self._cut())

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self):
        self._open = asyncio.Event()
        self._open.set()
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._listener.sockets[0].getsockname()[1]

    async def _accept(self, reader, writer):
        self._writers.add(writer)  # to be cut also while there is no other end yet
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(far_writer)
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source, target):
        queue = asyncio.Queue(IN_FLIGHT)
        writing = asyncio.create_task(self._deliver(queue, target))
        try:
            while data := await source.read(CHUNK):
                await queue.put((self._loop.time() + self.delay, data))
            await queue.put(None)
            await writing
        except OSError:
            target.transport.abort()
        finally:
            writing.cancel()
            self._writers.discard(target)

    async def _deliver(self, queue, target):
        with suppress(OSError):
            while item := await queue.get():
                due, data = item
                await asyncio.sleep(due - self._loop.time())
                await self._open.wait()
                target.write(data)
                await target.drain()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
            target.close()

    async def _cut(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _end(self):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await self._cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others)
        self._listener.close()  # now that nothing is being accepted, which asyncio would leave open
        await self._cut()
        await asyncio.sleep(0)  # the transports learn that they are cut
