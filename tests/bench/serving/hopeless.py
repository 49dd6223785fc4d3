"""Section `hopeless`: callers of one text, beside others who ask for long lists within a time that no server has.

A caller whose deadline is set wrong asks again and again. What that takes from others is held against lists that are
refused for an alias that does not exist, which is what a client on the same cores and any refusal cost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from munjang.cli.load_report import summarise
from munjang.errors import DeadlineUnreachable
from tests.bench.serving.samples import failures
from tests.bench.serving.serving import client, run, serving
from tests.bench.speed import texts
from tests.bench.speed.stats import interleave, ratio, summary

if TYPE_CHECKING:
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

CALLERS = 8
BATCH = 1000
RATE = 100.0
"""Lists a second."""

DEADLINE = 0.05
BESIDE: dict[str, dict[str, Any] | None] = {
    "alone": None,
    "beside refused lists": {"version": "없는-별명"},
    "beside hopeless lists": {"timeout": DEADLINE},
}
"""What the lists are asked with, by the name of the load."""

TEXTS = 1000
ROUNDS_SECONDS = 150.0


def measure(context: Context) -> dict[str, Any]:
    """Answers a second to callers of one text alone, beside lists that are refused, and beside hopeless ones."""
    some = texts.take(context.texts, TEXTS)
    warmup, seconds = (0.5, 2.0) if context.quick else (1.0, 8.0)
    with serving(context) as server:

        def load(options: dict[str, Any] | None) -> tuple[float, dict[str, int]]:
            return run(_answered(server, some, options, warmup, seconds))

        load(None)  # the server learns its speed
        turns = {name: lambda options=options: load(options) for name, options in BESIDE.items()}
        rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
    rates = {name: [rate for rate, _ in found] for name, found in rounds.items()}
    return {
        "callers": CALLERS,
        "batch": BATCH,
        "rate": RATE,
        "deadline_ms": 1000 * DEADLINE,
        "texts_per_second": {name: summary(values) for name, values in rates.items()},
        "over_alone": {name: ratio(values, rates["alone"]) for name, values in rates.items()},
        "unreachable_share": _unreachable([ended for _, ended in rounds["beside hopeless lists"]]),
    }


async def _answered(
    server: Serving, some: list[str], options: dict[str, Any] | None, warmup: float, seconds: float
) -> tuple[float, dict[str, int]]:
    """Texts a second that callers of one text are answered, and how many of the lists failed of what."""
    async with client(server.target) as caller, client(server.target) as other:
        load = Load(caller, batches(some, 1, seed=0), {}, warmup + seconds, lambda _: None)
        lists = Load(other, batches(some, BATCH, seed=1), options or {}, warmup + seconds, lambda _: None)
        await asyncio.gather(load.closed(CALLERS), *([] if options is None else [lists.open(RATE, seed=0)]))
    found, _ = summarise(load.samples, mode="closed", load=CALLERS, batch=1, warmup=warmup, seconds=seconds)
    return found.texts_per_second, failures(lists.samples)


def _unreachable(ended: list[dict[str, int]]) -> float:
    """The share of hopeless lists that were refused; the others found out by waiting."""
    together = sum(sum(found.values()) for found in ended)
    return sum(found.get(DeadlineUnreachable.reason, 0) for found in ended) / together
