"""Section `overhead`: what one call costs over the bare forward, and where its time goes."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

from munjang.client import AsyncClient
from munjang.client.requests import Options, Part
from munjang.encoder.postprocess import OutputOptions, packed
from tests.bench.speed import servers
from tests.bench.speed.stats import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.context import Context

BLOCK = 20
GRPC = "gRPC alone"
AT_ONCE = "gRPC alone, from call to call"


def measure(context: Context) -> dict[str, Any]:
    """Milliseconds of a call, of its parts, and of the rest: hand-offs and batching.

    Blocks of calls and of bare forwards of the same texts alternate, so that both see the same machine. gRPC alone is
    measured both at once and after a wait as long as a forward: a processor that did something else, or nothing, in
    between runs the same code slower, and it is the latter that is part of a call.
    """
    encoder = context.encoder(interactive=True)
    some = context.texts[:BLOCK]
    blocks = 2 if context.quick else 10
    tokens = [encoder.tokenize([text]) for text in some]
    rows = [encoder.forward(item) for item in tokens]
    steps: dict[str, Callable[[int], object]] = {
        "tokenise": lambda index: encoder.tokenize([some[index]]),
        "forward": lambda index: encoder.forward(tokens[index]),
        "normalise and pack": lambda index: packed(rows[index], OutputOptions(), encoder.info),
        "make the request": lambda index: Part(0, (some[index],)).request(Options()).SerializeToString(),
    }
    dimensions = encoder.info.dimensions
    wait = statistics.median(_times(steps["forward"]))
    parts: dict[str, list[float]] = {name: [] for name in ("one call", GRPC, AT_ONCE, *steps)}
    with (
        servers.running(servers.ours(context.registry, context.home), context.work) as own,
        servers.running(servers.null(dimensions, wait / 1000), context.work) as waiting,
        servers.running(servers.null(dimensions), context.work) as at_once,
    ):
        for number in range(blocks + 1):
            found = {
                "one call": asyncio.run(_calls(own.port, some)),
                GRPC: [call - wait for call in asyncio.run(_calls(waiting.port, some))],
                AT_ONCE: asyncio.run(_calls(at_once.port, some)),
                **{name: _times(step) for name, step in steps.items()},
            }
            if number:  # the first block warms up
                for name, times in found.items():
                    parts[name].append(statistics.median(times))
    return _report(parts)


def _report(parts: dict[str, list[float]]) -> dict[str, Any]:
    over = [call - forward for call, forward in zip(parts["one call"], parts["forward"], strict=True)]
    known = (GRPC, "tokenise", "forward", "normalise and pack")
    rest = [call - sum(parts[name][i] for name in known) for i, call in enumerate(parts["one call"])]
    return {
        "parts_ms": {name: summary(times) for name, times in parts.items()},
        "over_forward_ms": summary(over),
        "rest_ms": summary(rest),
    }


async def _calls(port: int, some: list[str]) -> list[float]:
    times = []
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        await client.encode(some[:1])
        for text in some:
            begun = time.perf_counter()
            await client.encode([text])
            times.append(1000 * (time.perf_counter() - begun))
    return times


def _times(step: Callable[[int], object]) -> list[float]:
    step(0)
    times = []
    for index in range(BLOCK):
        begun = time.perf_counter()
        step(index)
        times.append(1000 * (time.perf_counter() - begun))
    return times
