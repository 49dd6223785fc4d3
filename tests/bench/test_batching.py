"""What the scheduler itself costs a call, around an encoder that takes no time; writes docs/bench/batching.md."""

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
from munjang.errors import VersionNotFound
from munjang.settings import BatchSettings
from munjang_server.scheduling import Scheduler, Work
from munjang_server.scheduling.latency_model import BatchLimits, Latencies
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.request_queue import Lanes

OUT = Path(__file__).parents[2] / "docs" / "bench"


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class FreeEncoder:
    """An encoder that takes no time."""

    info = ModelInfo(384, 512)
    streams = 1
    packs = False
    on_cpu = True

    def __init__(self) -> None:
        self._rows = np.ones((4096, 384), np.float32)

    def tokenize(self, texts, how=None):
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
    return {
        "machine": platform.processor() or platform.machine(),
        "own_cost": asyncio.run(own_cost()),
        "forming": [forming(queued) for queued in (1000, 10_000, 50_000)],
    }


def page(figures: dict) -> str:
    """The figures as a Markdown page."""
    return "\n".join(
        [
            "# The scheduler's own cost",
            "",
            f"Written by `make bench` ({figures['machine']}, an encoder that takes no time).",
            "What the scheduler does under load is on [another page](scheduling.md).",
            "",
            table([figures["own_cost"]]),
            "",
            "Forming one batch from a long queue.",
            "",
            table(figures["forming"]),
            "",
        ]
    )


def test_batching() -> None:
    """Measure and write."""
    figures = measure()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "batching.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / "batching.md").write_text(page(figures), encoding="utf-8")
