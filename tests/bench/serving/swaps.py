"""Section `swaps`: promotions and rollbacks between two real versions under load, and what they cost the callers.

Two servers are measured: one that keeps the previous version, as by default, so that only the first swap loads; and one
that does not, so that every swap loads and unloads.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.cli.whitening import add_whitening
from munjang.encoder.encode import encode
from munjang.publishing import publish_model
from munjang.registry import Registry
from tests.bench.serving import samples
from tests.bench.serving.serving import client, run, serving
from tests.bench.serving.swapping import Swapper, capacity
from tests.bench.speed import texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numpy.typing import NDArray

    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

    Own = dict[int, dict[str, NDArray[np.float32]]]

SHARE = 0.3
"""The load, as a share of the calls a second that the server answers at most."""

WATCH_SECONDS = 0.2
TEXTS = 200
SWAPS_SECONDS = 130.0
FIRST, SECOND = 1, 2
BY = "benchmark"


def measure(context: Context) -> dict[str, Any]:
    """Failed calls, mixed replies, latencies around swaps and in steady state, memory after few and after all swaps."""
    registry = Registry(context.registry)
    _publish_second(context, registry)
    some = texts.take(context.texts, TEXTS)
    steady, resident, loading = (2.0, (2, 6), (1, 2)) if context.quick else (12.0, (5, 50), (5, 20))  # few, most

    async def first_is_fresh(swapper: Swapper) -> None:
        await swapper.swap("fresh", SECOND, lambda: registry.promote("stable", SECOND, BY))
        await _swaps(swapper, registry, *resident)

    try:
        with serving(context, watch_seconds=WATCH_SECONDS) as server:
            kept = run(_loaded(server, some, steady, first_is_fresh))
            own = run(_own(server, some))
        registry.promote("stable", FIRST, BY)
        with serving(context, watch_seconds=WATCH_SECONDS, keep_previous=False) as server:
            each = run(_loaded(server, some, steady, lambda swapper: _swaps(swapper, registry, *loading)))
    finally:
        registry.promote("stable", FIRST, BY)
    return {
        "alike": max(float(own[FIRST][text] @ own[SECOND][text]) for text in some),
        "watch_seconds": WATCH_SECONDS,
        "resident": _report(kept, own),
        "loading": _report(each, own),
    }


def _publish_second(context: Context, registry: Registry) -> None:
    """Version 2: the first with a whitening layer behind it, so that it has its size and other vectors."""
    encoder = context.encoder()
    vectors = encode(encoder, texts.take(context.texts, 2 * TEXTS))
    encoder.close()
    add_whitening(context.folder, context.work / "second", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    publish_model(registry, context.work / "second")


async def _loaded(
    server: Serving, some: list[str], steady: float, work: Callable[[Swapper], Awaitable[None]]
) -> tuple[float, Swapper]:
    """Swaps under load, between two spells without any; the calls a second, and all that was seen."""
    async with client(server.target) as caller:
        rate = SHARE * await capacity(caller, some)
        async with Swapper(server, caller, some, rate) as swapper:
            await asyncio.sleep(steady)
            await work(swapper)
            await asyncio.sleep(steady)
    return rate, swapper


async def _swaps(swapper: Swapper, registry: Registry, few: int, most: int) -> None:
    """Promote and roll back in turn, `most` times unless that takes too long; memory after `few` and after the last."""
    begun = time.monotonic()
    for number in range(1, most + 1):
        if registry.resolve("stable") == SECOND:
            await swapper.swap("swap", FIRST, lambda: registry.rollback("stable", BY))
        else:
            await swapper.swap("swap", SECOND, lambda: registry.promote("stable", SECOND, BY))
        late = time.monotonic() - begun > SWAPS_SECONDS and number > few
        if number in {few, most} or late:
            await swapper.weigh(number)
        if late:
            break


async def _own(server: Serving, some: list[str]) -> Own:
    """What each version says of the texts when it is asked by its number."""
    async with client(server.target) as caller:
        found = {version: (await caller.encode(some, version=version)).vectors for version in (FIRST, SECOND)}
    return {version: dict(zip(some, rows, strict=True)) for version, rows in found.items()}


def _report(measured: tuple[float, Swapper], own: Own) -> dict[str, Any]:
    rate, swapper = measured
    calls = swapper.samples
    windows = [window for found in swapper.windows.values() for window in found]
    _, steady = samples.divide(calls, windows)
    kinds = {}
    for kind, found in swapper.windows.items():
        inside, _ = samples.divide(calls, found)
        kinds[kind] = {
            "swaps": len(found),
            "seconds": samples.percentile(swapper.seconds[kind], 0.5),
            "latency_ms": samples.latencies(inside),
        }
    early, late = swapper.memory.values()
    return {
        "calls_per_second": rate,
        "calls": len(calls),
        "failed": samples.failures(calls),
        "mixed": swapper.mixed(own),
        "steady_ms": samples.latencies(steady),
        "kinds": kinds,
        "p99_over_steady": {
            kind: found["latency_ms"]["p99"] / samples.latencies(steady)["p99"] for kind, found in kinds.items()
        },
        "memory": {str(mark): memory for mark, memory in swapper.memory.items()},
        "memory_growth": {kind: late[kind] / early[kind] - 1 for kind in early},
        "windows": windows,
        "timeline": samples.timeline(calls),
    }
