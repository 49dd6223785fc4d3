"""Section `mixed`: texts of many lengths, what of a forward is padding, and short calls beside bulk streams."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from tests.bench.serving import metrics, samples
from tests.bench.serving.serving import client, run, serving
from tests.bench.speed import texts
from tests.bench.speed.stats import interleave, ratio

if TYPE_CHECKING:
    from munjang.cli.load_generator import Sample
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

CALLERS = 64
RATE = 20.0
"""Short calls a second beside the streams: few, as interactive callers are."""

STREAM_BATCH = 256
LONG_PARTS = 60
"""So many sentences in a row are cut at any usual model's limit."""

TEXTS = 500
ROUNDS_SECONDS = 260.0


def measure(context: Context) -> dict[str, Any]:
    """Padding by kind of load, and the latencies of short calls alone and beside streams, in turn."""
    short = [text for text in context.texts if len(text) <= texts.SHORT_CHARS]
    mixed = _mixed(context.texts)
    seconds = 3.0 if context.quick else 14.0
    with serving(context) as server:
        padding = {"calls of one text": run(_calls(server, mixed, seconds))}
        streams: dict[str, list[str] | None] = {"alone": None, "beside short": short, "beside mixed": mixed}
        turns = {name: lambda bulk=bulk: run(_beside(server, short, bulk, seconds)) for name, bulk in streams.items()}
        rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
        padding["stream"] = run(_stream_alone(server, mixed, seconds))
    latency = {name: samples.latencies([call for found in each for call in found]) for name, each in rounds.items()}
    failed = sum(bool(call.reason) for each in rounds.values() for found in each for call in found)
    return {
        "padding": padding,
        "latency_ms": latency,
        "failed_calls": failed,
        "p99_over_alone": over_alone(rounds),
    }


def over_alone(rounds: dict[str, list[list[Sample]]]) -> dict[str, float]:
    """The p99 of short calls beside each stream over that alone: the median of the ratios within a round."""
    p99 = {name: [samples.latencies(found)["p99"] for found in each] for name, each in rounds.items()}
    return {name: ratio(values, p99["alone"]) for name, values in p99.items() if name != "alone"}


def _mixed(some: list[str]) -> list[str]:
    """Every tenth text is at the model's limit."""
    return [
        " ".join(texts.take(some[number:], LONG_PARTS)) if number % 10 == 0 else text
        for number, text in enumerate(texts.take(some, TEXTS))
    ]


async def _calls(server: Serving, mixed: list[str], seconds: float) -> dict[str, float]:
    """Tokens of forwards while many callers ask for one text at a time."""
    before = server.metrics()
    async with client(server.target) as caller:
        await Load(caller, batches(mixed, 1, seed=0), {}, seconds, lambda _: None).closed(CALLERS)
    return metrics.tokens(before, server.metrics(), lane="interactive")


async def _stream_alone(server: Serving, mixed: list[str], seconds: float) -> dict[str, float]:
    """Tokens of forwards while a stream keeps the server busy."""
    before = server.metrics()
    async with client(server.target) as caller:
        stream = asyncio.create_task(_stream(caller, mixed))
        await asyncio.sleep(seconds)
        await _end(stream)
    return metrics.tokens(before, server.metrics(), lane="bulk")


async def _beside(server: Serving, short: list[str], bulk: list[str] | None, seconds: float) -> list[Sample]:
    """Short calls in an open loop, beside a stream of `bulk` if there is one."""
    async with client(server.target) as caller, client(server.target) as streamer:
        stream = asyncio.create_task(_stream(streamer, bulk)) if bulk else None
        await asyncio.sleep(1.0)  # the stream has filled the server's window
        load = Load(caller, batches(short, 1, seed=0), {}, seconds, lambda _: None)
        await load.open(RATE, seed=0)
        if stream is not None:
            await _end(stream)
    return list(load.samples)


async def _stream(caller: Any, bulk: list[str]) -> None:
    """Encode without an end, in batches."""
    endless = itertools.cycle(bulk)
    parts = ((number, list(itertools.islice(endless, STREAM_BATCH))) for number in itertools.count())
    async for found in caller.encode_stream(parts):
        found.result()


async def _end(stream: asyncio.Task[None]) -> None:
    """End a stream that still runs.

    Raises:
        MunjangError: it had failed before.
    """
    if stream.done():
        stream.result()
    stream.cancel()
    await asyncio.wait([stream])
