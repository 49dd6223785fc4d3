"""Section `hostile`: callers of one sentence, beside one who sends all kinds of texts that are made to take long."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from tests.bench.serving import samples
from tests.bench.serving.mixed import over_alone
from tests.bench.serving.orders import HealthWatch
from tests.bench.serving.serving import client, run, serving
from tests.bench.speed import texts
from tests.bench.speed.stats import interleave
from tests.hostile_texts import FAMILIES, hostile_text

if TYPE_CHECKING:
    from munjang.cli.load_generator import Sample
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

CHARACTERS = 200_000
"""The most that the server takes in one text, by default."""

RATE = 20.0
"""Short calls a second."""

ROUNDS_SECONDS = 300.0
Ended = tuple[list["Sample"], list["Sample"]]
"""Short calls, and those of hostile texts."""


def measure(context: Context) -> dict[str, Any]:
    """Latencies of short calls alone and beside hostile texts, what failed, and whether health turned."""
    short = [text for text in context.texts if len(text) <= texts.SHORT_CHARS]
    hostile = [[hostile_text(family, CHARACTERS)] for family in FAMILIES]
    seconds = 6.0 if context.quick else 40.0
    with serving(context) as server, HealthWatch(server.target) as health:
        begun = time.monotonic()
        turns = {
            "alone": lambda: run(_beside(server, short, [], seconds)),
            "beside hostile texts": lambda: run(_beside(server, short, hostile, seconds)),
        }
        rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
        turned = health.turned("NOT_SERVING", begun)
    short_calls = {name: [found for found, _ in each] for name, each in rounds.items()}
    hostile_calls = [call for each in rounds.values() for _, found in each for call in found]
    return {
        "families": len(FAMILIES),
        "characters": CHARACTERS,
        "latency_ms": {name: samples.latencies(itertools.chain(*each)) for name, each in short_calls.items()},
        "hostile_ms": samples.latencies(hostile_calls),
        "p99_over_alone": over_alone(short_calls),
        "failed_short": samples.failures(call for each in short_calls.values() for found in each for call in found),
        "failed_hostile": samples.failures(hostile_calls),
        "health_turned": turned,
    }


async def _beside(server: Serving, short: list[str], hostile: list[list[str]], seconds: float) -> Ended:
    """Short calls in an open loop, beside one caller of hostile texts if there are any."""
    async with client(server.target) as caller, client(server.target) as other:
        load = Load(caller, batches(short, 1, seed=0), {}, seconds, lambda _: None)
        beside = Load(other, itertools.cycle(hostile), {}, seconds, lambda _: None)
        await asyncio.gather(load.open(RATE, seed=0), *([beside.closed(1)] if hostile else []))
    return load.samples, beside.samples
