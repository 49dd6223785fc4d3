"""Section `overload`: three times as many calls as the server can answer, each with a deadline; callers who give up.

The most that it answers (a closed loop) and the open loops alternate, so that both see the same machine. Calls are of
several texts, since the client runs on the same cores and a call costs it as much whatever it holds.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from munjang.cli.load_generator import Load, batches
from munjang.cli.load_report import summarise
from munjang.errors import DeadlineExceeded, DeadlineUnreachable, Overloaded
from tests.bench.serving import metrics
from tests.bench.serving.callers import GivenUp, Leaving
from tests.bench.serving.samples import failures, percentile
from tests.bench.serving.serving import MemoryWatch, client, run, serving
from tests.bench.speed import texts
from tests.bench.speed.stats import summary

if TYPE_CHECKING:
    from munjang.cli.load_generator import Sample
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

TIMES = 3.0
BATCH = 8
CALLERS = 32
DEADLINE = 1.0
SHARES = {"patient": 0.0, "leaving": 0.1}
"""By the name of a flood, the share of its calls that are given up, at a random moment before their deadline."""

TEXTS = 500
REFUSED = {Overloaded.reason, DeadlineUnreachable.reason}


def measure(context: Context) -> dict[str, Any]:
    """Goodput over peak, how calls ended, how soon refusals came, memory, and tokens that nobody waited for."""
    some = texts.take(context.texts, TEXTS)
    warmup, seconds = (0.5, 2.0) if context.quick else (2.0, 10.0)
    with serving(context) as server:

        def peak() -> float:
            return run(_closed(server, some, warmup, seconds / 2))

        run(_closed(server, some, warmup, seconds))  # the server learns its speed
        peaks, floods = [peak()], []
        with MemoryWatch(server) as memory:
            for share in context.rounds * list(SHARES.values()):
                floods.append(run(_open(server, some, TIMES * peaks[-1] / BATCH, share, warmup, seconds)))
                peaks.append(peak())
    growth = memory.highest / memory.first - 1
    return held_against_peaks(peaks, floods) | {"memory": memory.json(), "memory_growth": growth}


async def _closed(server: Serving, some: list[str], warmup: float, seconds: float) -> float:
    """Texts a second that are answered at most."""
    async with client(server.target) as caller:
        load = Load(caller, batches(some, BATCH, seed=0), {}, warmup + seconds, lambda _: None)
        await load.closed(CALLERS)
    found, _ = summarise(load.samples, mode="closed", load=CALLERS, batch=BATCH, warmup=warmup, seconds=seconds)
    return found.texts_per_second


async def _open(
    server: Serving, some: list[str], rate: float, share: float, warmup: float, seconds: float
) -> dict[str, Any]:
    """One flood; `share` of its calls are given up."""
    before = server.metrics()
    async with client(server.target) as caller:
        leaving = Leaving(caller, share, DEADLINE)
        options = {"timeout": DEADLINE}
        load = Load(leaving, batches(some, BATCH, seed=1), options, warmup + seconds, lambda _: None)  # type: ignore[arg-type]  # as `Load` calls it
        await load.open(rate, seed=0)
    found, _ = summarise(load.samples, mode="open", load=rate, batch=BATCH, warmup=warmup, seconds=seconds)
    measured = [sample for sample in load.samples if sample.intended >= warmup]
    return {
        "calls_per_second": rate,
        "texts_per_second": found.texts_per_second,
        "lag_ms": found.lag_ms,
        **outcomes(measured),
        "tokens": metrics.tokens(before, server.metrics()),
    }


def outcomes(calls: list[Sample]) -> dict[str, Any]:
    """How calls ended: shares, and milliseconds from their beginning to their answer, their refusal or their deadline.

    Those admitted are the answered and the expired ones: all that were neither refused nor given up.
    """
    refused = [1000 * (call.ended - call.begun) for call in calls if call.reason in REFUSED]
    admitted = [1000 * (call.ended - call.begun) for call in calls if call.reason in {"", DeadlineExceeded.reason}]
    expired = sum(call.reason == DeadlineExceeded.reason for call in calls)
    left = sum(call.reason == GivenUp.reason for call in calls)
    return {
        "calls": len(calls),
        "failed": failures(calls),
        "other_failures": len(calls) - len(refused) - len(admitted) - left,
        "refused_share": len(refused) / len(calls),
        "refused_ms": {"p50": percentile(refused, 0.5), "p99": percentile(refused, 0.99)},
        "expired_of_admitted": expired / max(1, len(admitted)),
        "admitted_ms": {"p50": percentile(admitted, 0.5), "p99": percentile(admitted, 0.99)},
    }


def held_against_peaks(peaks: list[float], floods: list[dict[str, Any]]) -> dict[str, Any]:
    """Each flood lies between two peaks, and is held against their mean."""
    for flood, before, after in zip(floods, peaks[:-1], peaks[1:], strict=True):
        flood["goodput_over_peak"] = 2 * flood["texts_per_second"] / (before + after)
    by_name = {name: floods[number :: len(SHARES)] for number, name in enumerate(SHARES)}
    return {
        "times": TIMES,
        "batch": BATCH,
        "deadline_ms": 1000 * DEADLINE,
        "leaving_share": SHARES["leaving"],
        "peak_texts_per_second": summary(peaks),
        "goodput_over_peak": {
            name: statistics.median(flood["goodput_over_peak"] for flood in found) for name, found in by_name.items()
        },
        "floods": by_name,
    }
