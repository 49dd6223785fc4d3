"""What is measured of a build: rates, latency beside bulk, overload, hopeless lists, swaps, memory, CPU time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from munjang.cli.load_report import summarise
from munjang.cli.whitening import add_whitening
from munjang.registry import Registry
from tests.bench.serving import hopeless, metrics, mixed, overload, samples
from tests.bench.serving.serving import client, run
from tests.bench.serving.swapping import Swapper, capacity
from tests.bench.speed import texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context
    from tests.bench.speed.servers import Server

CALLERS = (1, 8, 64, 256)
ALONE_SECONDS = 6.0
"""After so long without a call no server expects one."""

HIGHER, LOWER = "higher is better", "lower is better"


def loads(context: Context) -> dict[str, tuple[str, Callable[[Serving], float]]]:
    """By name: which way is better, and how one figure of a running server is measured."""
    some = texts.take(context.texts, 500)
    short = [text for text in context.texts if len(text) <= texts.SHORT_CHARS]
    long = mixed._mixed(context.texts)
    seconds = 2.0 if context.quick else 6.0

    def rate(callers: int) -> Callable[[Serving], float]:
        return lambda server: run(_rate(server, some, callers, seconds))

    return {
        **{f"sentences/s, {callers} callers": (HIGHER, rate(callers)) for callers in CALLERS},
        "ms of processor time a call, 64 callers": (
            LOWER,
            lambda server: run(processor_time(server.server, some, seconds)),
        ),
        "p99 ms of short calls alone": (LOWER, lambda server: run(_p99(server, short, None, seconds))),
        "p99 ms of short calls beside a stream of short texts": (
            LOWER,
            lambda server: run(_p99(server, short, short, seconds)),
        ),
        "p99 ms of short calls beside a stream with long texts": (
            LOWER,
            lambda server: run(_p99(server, short, long, seconds)),
        ),
        "tokens/s of a stream alone": (HIGHER, lambda server: run(_stream(server, long, seconds))),
        "goodput over peak at 3 × capacity": (HIGHER, lambda server: _goodput(server, some, seconds)),
        "sentences/s beside 100 hopeless lists/s": (
            HIGHER,
            lambda server: run(hopeless._answered(server, some, {"timeout": hopeless.DEADLINE}, 1.0, seconds))[0],
        ),
    }


def memory(server: Serving) -> float:
    """Megabytes that the server has at rest."""
    return server.memory()["pss"] / 1e6


def publish_second(context: Context) -> None:
    """A second version of the same size, to swap to and back."""
    import numpy as np  # noqa: PLC0415 - only here

    from munjang.encoder.encode import encode  # noqa: PLC0415 - seconds of import
    from munjang.publishing import publish_model  # noqa: PLC0415 - the same

    encoder = context.encoder()
    vectors = encode(encoder, texts.take(context.texts, 200))
    encoder.close()
    add_whitening(context.folder, context.work / "second", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    publish_model(Registry(context.registry), context.work / "second")


def swaps(server: Serving, context: Context, count: int) -> dict[str, Any]:
    """So many swaps under load: failed calls, and the p99 around swaps over that in steady state."""
    registry = Registry(context.registry)
    some = texts.take(context.texts, 200)

    async def swapped() -> Swapper:
        async with client(server.target) as caller:
            rate = 0.3 * await capacity(caller, some)
            async with Swapper(server, caller, some, rate) as swapper:
                await asyncio.sleep(5.0)
                for number in range(count):
                    version = 1 + (number + 1) % 2
                    await swapper.swap("swap", version, lambda v=version: registry.promote("stable", v, "benchmark"))
                await asyncio.sleep(5.0)
            return swapper

    swapper = run(swapped())
    inside, steady = samples.divide(swapper.samples, swapper.windows["swap"])
    registry.promote("stable", 1, "benchmark")
    return {
        "swaps": count,
        "calls": len(swapper.samples),
        "failed": samples.failures(swapper.samples),
        "p99_over_steady": samples.latencies(inside)["p99"] / samples.latencies(steady)["p99"],
    }


async def _rate(server: Serving, some: list[str], callers: int, seconds: float) -> float:
    async with client(server.target) as caller:
        load = Load(caller, batches(some, 1, seed=0), {}, 1.0 + seconds, lambda _: None)
        await load.closed(callers)
    found, _ = summarise(load.samples, mode="closed", load=callers, batch=1, warmup=1.0, seconds=seconds)
    return float(found.texts_per_second)


async def processor_time(server: Server, some: list[str], seconds: float) -> float:
    """Milliseconds of processor time that a server takes for a call of one sentence, at 64 callers."""
    async with client(f"127.0.0.1:{server.port}") as caller:
        await Load(caller, batches(some, 1, seed=0), {}, 1.0, lambda _: None).closed(64)
        before = _processor_seconds(server)
        load = Load(caller, batches(some, 1, seed=0), {}, seconds, lambda _: None)
        await load.closed(64)
        return 1000 * (_processor_seconds(server) - before) / len(load.samples)


def _processor_seconds(server: Server) -> float:
    times = [process.cpu_times() for process in server.processes()]
    return sum(each.user + each.system for each in times)


async def _p99(server: Serving, short: list[str], bulk: list[str] | None, seconds: float) -> float:
    found = await mixed._beside(server, short, bulk, 2 * seconds)
    return float(samples.latencies(found)["p99"])


async def _stream(server: Serving, some: list[str], seconds: float) -> float:
    async with client(server.target) as caller:
        stream = asyncio.create_task(mixed._stream(caller, some))
        await asyncio.sleep(ALONE_SECONDS)
        before = server.metrics()
        await asyncio.sleep(seconds)
        after = server.metrics()
        await mixed._end(stream)
    return metrics.tokens(before, after, lane="bulk")["real"] / seconds


def _goodput(server: Serving, some: list[str], seconds: float) -> float:
    peak = run(overload._closed(server, some, 1.0, seconds))
    flood = run(_flood(server, some, overload.TIMES * peak / overload.BATCH, seconds))
    return flood / run(overload._closed(server, some, 1.0, seconds))


async def _flood(server: Serving, some: list[str], rate: float, seconds: float) -> float:
    async with client(server.target) as caller:
        load = Load(
            caller, batches(some, overload.BATCH, seed=1), {"timeout": overload.DEADLINE}, 1 + seconds, lambda _: None
        )
        await load.open(rate, seed=0)
    found, _ = summarise(load.samples, mode="open", load=rate, batch=overload.BATCH, warmup=1.0, seconds=seconds)
    return float(found.texts_per_second)
