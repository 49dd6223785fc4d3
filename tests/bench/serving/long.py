"""Section `long`: texts of up to 8,192 tokens beside callers of short sentences, at start, at a swap and under load.

Two models of random weights with 8,192 positions stand for those that Korean teams deploy: one as wide as the starter
(384, 12 layers) and one as bge-m3 (1,024, 24 layers, a small vocabulary). What counts: health never turns, no short
call fails, every long text is answered or refused at once with the reason.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from munjang.client import AsyncClient, RetryPolicy
from munjang.errors import MunjangError
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.bench.serving.samples import percentile
from tests.bench.serving.serving import run, serving
from tests.bench.speed import texts

if TYPE_CHECKING:
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

SHAPES = {
    "384 wide, 12 layers": {"dimensions": 384, "layers": 12, "heads": 12},
    "1,024 wide, 24 layers": {"dimensions": 1024, "layers": 24, "heads": 16},
}
POSITIONS = 8192
LENGTHS = (2048, 4096, 8192)
CALLERS = 8
SHORT_DEADLINE = 1.0
LONG_DEADLINE = 600.0
ALONE_SECONDS = 10.0
AT_ONCE = 10
MOST_SECONDS = 90.0
"""So long the server works on ten texts of one length; then their callers leave."""


@dataclass
class Watch:
    """What callers of short sentences saw, and whether health turned."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unhealthy: int = 0
    stop: bool = False


def measure(context: Context) -> dict[str, Any]:
    """For each shape: how long texts and the short calls beside them ended."""
    found = {}
    for name, shape in list(SHAPES.items())[: 1 if context.quick else None]:
        folder = tiny_model(context.work / f"long-{shape['dimensions']}", max_tokens=POSITIONS, **shape)
        registry = Registry(str(context.work / f"registry-{shape['dimensions']}"))
        for _ in range(2):
            publish_model(registry, folder)
        registry.promote("stable", 1, "benchmark")
        with serving(context, registry=str(registry.url), watch_seconds=0.2, default_deadline_seconds=900) as server:
            found[name] = run(_measure(server, registry, texts.take(context.texts, 500), quick=context.quick))
    return {"shapes": found}


async def _measure(server: Serving, registry: Registry, some: list[str], *, quick: bool) -> dict[str, Any]:
    """Short calls alone, a swap under them, then long texts beside them."""
    async with AsyncClient(server.target, retry=RetryPolicy(attempts=1)) as client:
        await _until_serving(server.target)
        alone = await _beside(server, client, some, asyncio.sleep(ALONE_SECONDS))
        swap = await _beside(server, client, some, _swap(client, registry))
        beside = {}
        for length in LENGTHS[: 1 if quick else None]:
            for count in (1, AT_ONCE):
                beside[f"{count} × {length:,}"] = await _beside(server, client, some, _long(client, length, count))
    return {"alone": alone, "swap": swap, "beside": beside}


async def _beside(server: Serving, client: AsyncClient, some: list[str], work: Any) -> dict[str, Any]:
    """Eight callers of short sentences while something else is done."""
    watch = Watch()
    callers = [asyncio.create_task(_short(client, some[number:], watch)) for number in range(CALLERS)]
    health = asyncio.create_task(_health(server.target, watch))
    ended = await work
    watch.stop = True
    await asyncio.gather(*callers, health)
    return {
        "short_calls": len(watch.seconds) + len(watch.failures),
        "short_failures": sorted(set(watch.failures)),
        "short_failed": len(watch.failures),
        "unhealthy_looks": watch.unhealthy,
        "short_ms": {
            "p50": 1000 * percentile(watch.seconds, 0.5),
            "p99": 1000 * percentile(watch.seconds, 0.99),
        },
        "long": ended,
    }


async def _short(client: AsyncClient, some: list[str], watch: Watch) -> None:
    number = 0
    while not watch.stop:
        begun = time.monotonic()
        try:
            await client.encode(some[number % len(some)], timeout=SHORT_DEADLINE)
            watch.seconds.append(time.monotonic() - begun)
        except MunjangError as error:
            watch.failures.append(f"{error.reason}: {error}")
        number += 1


async def _until_serving(target: str) -> None:
    """Wait until the server says that it is ready; it can answer a moment before it says so."""
    async with grpc.aio.insecure_channel(target) as channel:
        async for reply in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60):
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return


async def _health(target: str, watch: Watch) -> None:
    """Look at readiness all the while, as Kubernetes would, only more often."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not watch.stop:
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            watch.unhealthy += reply.status != health_pb2.HealthCheckResponse.SERVING
            await asyncio.sleep(0.05)


async def _swap(client: AsyncClient, registry: Registry) -> dict[str, Any]:
    """Promote another version of the same size and wait until it answers."""
    begun = time.monotonic()
    await asyncio.to_thread(registry.promote, "stable", 2, "benchmark")
    while (await client.encode("바뀌었나요?")).version != 2:
        pass  # each call takes a moment
    return {"seconds": time.monotonic() - begun}


async def _long(client: AsyncClient, length: int, count: int) -> dict[str, Any]:
    """Send so many texts of one length at once; how each ended, and when."""
    text = ("가나다라마바사아자차카타파하 " * (length // 14 + 1))[: length + length // 14 - 4]
    begun = time.monotonic()

    async def one() -> tuple[str, float, int]:
        try:
            found = await client.encode(text, timeout=LONG_DEADLINE)
        except MunjangError as error:
            return error.reason, time.monotonic() - begun, 0
        return "answered", time.monotonic() - begun, int(found.token_counts[0])

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    done, left = await asyncio.wait(tasks, timeout=MOST_SECONDS)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    ended = [task.result() for task in done]
    return {
        "tokens": max((tokens for _, _, tokens in ended), default=0),
        "first_seconds": min((seconds for _, seconds, _ in ended), default=0.0),
        "last_seconds": max((seconds for _, seconds, _ in ended), default=0.0),
        "outcomes": {kind: sum(outcome == kind for outcome, _, _ in ended) for kind in {o for o, _, _ in ended}},
        "left_by_their_callers": len(left),
    }
