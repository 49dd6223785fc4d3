"""Section `restart`: three servers restarted in turn under the load of one client that tries nothing twice."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from munjang.cli.stack.plan import free_port
from tests.bench.serving import samples
from tests.bench.serving.serving import client, run, serving
from tests.bench.speed import texts

if TYPE_CHECKING:
    from tests.bench.speed.context import Context

SERVERS = 3
RATE = 30.0
LAME_DUCK_SECONDS = 1.5
LONGEST = 600.0


class _Replica:
    """A server on a port of its own, which can be ended and started again."""

    def __init__(self, context: Context, stack: ExitStack, number: int) -> None:
        self._context = context
        self._name = f"munjang-{number}"
        self._stack = stack.enter_context(ExitStack())
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start it; returns when it answers."""
        settings = {"lame_duck_seconds": LAME_DUCK_SECONDS, "threads": 1}
        made = serving(self._context, name=self._name, port=self.port, **settings)
        self._server = self._stack.enter_context(made).server

    def stop(self) -> int:
        """SIGTERM; its exit status once it has ended."""
        status = self._server.stop()
        self._stack.close()
        return status


def measure(context: Context) -> dict[str, Any]:
    """Calls that failed, and the clock of the restart."""
    with ExitStack() as stack:
        replicas = [_Replica(context, stack, number) for number in range(SERVERS)]
        return run(_restart(context, replicas))


async def _restart(context: Context, replicas: list[_Replica]) -> dict[str, Any]:
    targets = [f"127.0.0.1:{replica.port}" for replica in replicas]
    spell = 1.0 if context.quick else 4.0
    events: list[dict[str, Any]] = []
    async with client(targets) as caller:
        some = batches(texts.take(context.texts, 200), 1, seed=0)
        load = Load(caller, some, {}, LONGEST, lambda _: None)
        begun = time.monotonic()
        calls = asyncio.create_task(load.open(RATE, seed=0))

        def note(number: int, event: str) -> None:
            events.append({"second": round(time.monotonic() - begun, 2), "server": number, "event": event})

        try:
            for number, replica in enumerate(replicas, 1):
                await asyncio.sleep(spell)
                note(number, "SIGTERM")
                status = await asyncio.to_thread(replica.stop)
                note(number, f"ended with status {status}")
                await asyncio.to_thread(replica.start)
                note(number, "answers again")
            await asyncio.sleep(spell)
        finally:
            load.seconds = 0.0  # no new calls
            await calls
    return {
        "servers": SERVERS,
        "calls_per_second": RATE,
        "calls": len(load.samples),
        "failed_calls": samples.failures(load.samples),
        "latency_ms": samples.latencies(load.samples),
        "events": events,
        "timeline": samples.timeline(load.samples),
    }
