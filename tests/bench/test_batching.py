"""What the scheduler costs and what its policy does under load; writes docs/bench/batching.json and batching.md.

The policy is measured on a simulated clock (`tests.simulation`), so its figures are the same on any machine;
the costs of the scheduler itself are measured on real threads around an encoder that takes no time.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import statistics
import time
from pathlib import Path

import numpy as np

from munjang.encoder.contract import ModelInfo, Tokens
from munjang.encoder.sequence_packing import computed
from munjang.errors import VersionNotFound
from munjang.settings import BatchSettings
from munjang_server.scheduling import Lane, Scheduler, Work
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.request_queue import Lanes
from tests.simulation import Call, Simulation

OUT = Path(__file__).parents[2] / "docs" / "bench"
ENGINES = {  # seconds to start a forward, seconds a token, patience of a call
    "two CPU cores, 13,000 tokens/s": (0.002, 1 / 13_000, 1.0),
    "a GPU, 600,000 tokens/s": (0.004, 1 / 600_000, 0.3),
}


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def mixed(source: random.Random) -> int:
    """90 % short texts, 10 % at the model's limit."""
    return source.randint(8, 32) if source.random() < 0.9 else 512


def overload(engine: tuple[float, float, float], load: float) -> dict[str, float]:
    """An open loop of single texts at `load` times the speed of full batches."""
    start, token, patience = engine
    source, simulation = random.Random(11), Simulation(BatchSettings(), start, token)  # noqa: S311 - simulated traffic
    capacity = 4096 / simulation.seconds(4096)
    seconds = 800_000 / capacity
    calls, now = [], 0.0
    while now < seconds:
        now += source.expovariate(load * capacity / 69.2)
        calls.append(Call(now, [mixed(source)], f"caller {source.randrange(50)}", patience=patience))
        simulation.add(calls[-1])
    simulation.run(seconds + patience + 1)
    answered = [call for call in calls if call.outcome == "answered"]
    real = sum(batch.size for batch in simulation.batches)
    return {
        "load": load,
        "useful": sum(sum(call.lengths) for call in answered) / seconds / capacity,
        "answered": len(answered) / len(calls),
        "refused": sum(call.outcome == "refused" for call in calls) / len(calls),
        "admitted_but_not_answered": sum(call.outcome in {"expired", "late"} for call in calls) / len(calls),
        "dead_tokens": simulation.dead_tokens / real,
        "padding": 1 - real / sum(computed(batch.lengths, packs=True) for batch in simulation.batches),
        "p50_ms": 1e3 * quantile([call.latency for call in answered], 0.5),
        "p99_ms": 1e3 * quantile([call.latency for call in answered], 0.99),
        "patience_ms": 1e3 * patience,
    }


def beside(engine: tuple[float, float, float], callers: int, *, streams: int, beside: int) -> dict[str, float]:
    """Short calls in a closed loop beside streams of mixed lengths that keep the engine full."""
    source, latencies, done = random.Random(3), [], [0]  # noqa: S311 - simulated traffic

    def ended(call: Call) -> None:
        if call.lane is Lane.BULK:
            done[0] += sum(call.lengths)
            simulation.add(stream(call.ended or 0.0))
        else:
            latencies.append(call.latency)
            simulation.add(short((call.ended or 0.0) + source.expovariate(20), call.caller))

    def short(at: float, caller: str) -> Call:
        return Call(at, [source.randint(8, 32)], caller)

    def stream(at: float) -> Call:
        return Call(at, [mixed(source) for _ in range(256)], "stream", Lane.BULK)

    simulation = Simulation(BatchSettings(), engine[0], engine[1], streams=beside, on_end=ended)
    for number in range(callers):
        simulation.add(short(number / 100, f"caller {number}"))
    for _ in range(streams):
        simulation.add(stream(0.0))
    simulation.run(60)
    return {
        "callers": callers,
        "streams": streams,
        "forwards_beside_each_other": beside,
        "p50_ms": 1e3 * quantile(latencies, 0.5),
        "p99_ms": 1e3 * quantile(latencies, 0.99),
        "bulk_tokens_per_second": done[0] / 60,
    }


def greedy(engine: tuple[float, float, float]) -> dict[str, float]:
    """Small callers beside one that queued 100,000 tokens at once."""
    source, simulation = random.Random(5), Simulation(BatchSettings(), engine[0], engine[1])  # noqa: S311 - simulated traffic
    for _ in range(100):
        simulation.add(Call(0.0, [source.randint(8, 32) for _ in range(50)], "greedy"))
    span = 60_000 * engine[1]
    small = [Call(number / 100 * span, [source.randint(8, 32)], f"caller {number % 5}") for number in range(100)]
    for call in small:
        simulation.add(call)
    simulation.run(60)
    return {
        "greedy_seconds_alone": 100_000 * engine[1],
        "small_p50_ms": 1e3 * quantile([call.latency for call in small], 0.5),
        "small_p99_ms": 1e3 * quantile([call.latency for call in small], 0.99),
    }


class FreeEncoder:
    """An encoder that takes no time."""

    info = ModelInfo(384, 512)
    streams = 1
    packs = False
    on_cpu = True

    def __init__(self) -> None:
        self._rows = np.ones((4096, 384), np.float32)

    def tokenize(self, texts, prompt_name=""):
        return [Tokens((0,) * 16) for _ in texts]

    def forward(self, batch, **options):
        return self._rows[: len(batch)]

    def computed(self, lengths):
        return sum(lengths)

    def close(self) -> None:
        """Nothing to give back."""


class Lease:
    """A lease on it."""

    version = 1
    encoder = FreeEncoder()

    def share(self):
        return self

    def release(self) -> None:
        """Nothing to give back."""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def nothing(name: str) -> Lease:
    """No version to probe."""
    raise VersionNotFound(name)


async def own_cost() -> dict[str, float]:
    """What the batcher itself costs a call, and how many texts it can move."""
    batcher = Scheduler(BatchSettings(), nothing)
    batcher.start()
    tokens = Lease.encoder.tokenize(["안녕하세요"])

    async def call(texts: int = 1) -> None:
        await batcher.encode(Work(Lease(), tokens * texts, deadline=time.monotonic() + 10))

    times = []
    for _ in range(5000):
        begun = time.perf_counter()
        await call()
        times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for _ in range(50):
        await asyncio.gather(*(call() for _ in range(256)))
    single = 50 * 256 / (time.perf_counter() - begun)
    begun = time.perf_counter()
    for _ in range(50):
        await asyncio.gather(*(call(64) for _ in range(8)))
    many = 50 * 8 * 64 / (time.perf_counter() - begun)
    batcher.close()
    return {
        "call_median_us": 1e6 * statistics.median(times),
        "call_p99_us": 1e6 * quantile(times, 0.99),
        "texts_per_second_in_calls_of_1": single,
        "texts_per_second_in_calls_of_64": many,
    }


def forming(queued: int) -> dict[str, float]:
    """Microseconds to form one batch of 4,096 tokens from a queue of so many texts by 50 callers."""
    source, settings = random.Random(1), BatchSettings(queue_tokens=1 << 30)  # noqa: S311 - simulated traffic
    latencies = Latencies()
    queue = Lanes(BatchLimits(settings, latencies), latencies, settings.bulk_share)
    for number in range(queued):
        work = Work(Lease(), [Tokens((0,) * source.randint(8, 128))], f"caller {number % 50}")
        queue.add(Request(work, None, 0.0))  # type: ignore[arg-type]  # nobody awaits it
    times = []
    for _ in range(min(50, queued // 100)):
        begun = time.perf_counter()
        queue.take(0.0)
        times.append(time.perf_counter() - begun)
    return {"queued_texts": queued, "median_us": 1e6 * statistics.median(times)}


def table(rows: list[dict[str, float]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(f"{value:,.4g}" for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def measure() -> dict:
    """All figures."""
    loads = (0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 3.0)
    return {
        "machine": platform.processor() or platform.machine(),
        "policy": {
            name: {
                "open_loop": [overload(engine, load) for load in loads],
                "beside_bulk": [
                    beside(engine, callers, streams=streams, beside=runs)
                    for callers in (1, 8)
                    for streams, runs in ((0, 2), (2, 1), (2, 2))
                ],
                "greedy_caller": greedy(engine),
            }
            for name, engine in ENGINES.items()
        },
        "own_cost": asyncio.run(own_cost()),
        "forming": [forming(queued) for queued in (1000, 10_000, 50_000)],
    }


def page(figures: dict) -> str:
    """The figures as a Markdown page."""
    parts = ["# Batching: what the policy does, and what it costs", "", "Written by `make bench`."]
    for name, policy in figures["policy"].items():
        parts += ["", f"## On a simulated engine: {name}", ""]
        parts += [
            "Open loop, 90 % short texts and 10 % of 512 tokens; shares of full-batch speed, calls and tokens.",
            "",
        ]
        parts += [table(policy["open_loop"]), "", "Short calls in a closed loop beside saturating streams.", ""]
        parts += [table(policy["beside_bulk"]), "", "Small callers beside one that queued 100,000 tokens.", ""]
        parts += [table([policy["greedy_caller"]])]
    parts += ["", f"## The batcher's own cost ({figures['machine']}, an encoder that takes no time)", ""]
    parts += [
        table([figures["own_cost"]]),
        "",
        "Forming one batch from a long queue.",
        "",
        table(figures["forming"]),
        "",
    ]
    return "\n".join(parts)


def test_batching() -> None:
    """Measure, write, and hold the figures to what is promised."""
    figures = measure()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "batching.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / "batching.md").write_text(page(figures), encoding="utf-8")
    for policy in figures["policy"].values():
        rows = policy["open_loop"]
        assert rows[-1]["useful"] >= 0.9 * max(row["useful"] for row in rows)
        assert all(row["dead_tokens"] < 0.01 for row in rows)
