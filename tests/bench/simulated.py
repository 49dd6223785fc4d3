"""`python -m tests.bench.simulated`: what the scheduler does under load, on a simulated clock.

The decisions are the real ones (`tests.simulation`), and only forwards are simulated, so the figures are the same on
any machine. Writes docs/bench/scheduling.md and .json; a test holds the page to them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from munjang.encoder.sequence_packing import computed
from munjang.settings import BatchSettings
from munjang_server.scheduling.api import Lane
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
    seconds = 300_000 / capacity
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
    simulation.run(20)
    return {
        "callers": callers,
        "streams": streams,
        "forwards_beside_each_other": beside,
        "p50_ms": 1e3 * quantile(latencies, 0.5),
        "p99_ms": 1e3 * quantile(latencies, 0.99),
        "bulk_tokens_per_second": done[0] / 20,
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


def long_text(engine: tuple[float, float, float], streams: int) -> dict[str, float]:
    """Short calls with a deadline of a second beside one text of 8,192 tokens that nobody says is bulk."""
    source = random.Random(3)  # noqa: S311 - simulated traffic
    simulation = Simulation(BatchSettings(), engine[0], engine[1], streams=streams, width=2000)
    long = Call(1.0, [8192], "long", patience=120)
    short = [Call(number / 20, [source.randint(8, 32)], f"caller {number % 8}", patience=1.0) for number in range(400)]
    for call in [long, *short]:
        simulation.add(call)
    simulation.run(60)
    latencies = [call.latency for call in short if call.outcome == "answered"]
    return {
        "forwards_beside_each_other": streams,
        "long_text_seconds": long.latency,
        "short_answered": len(latencies) / len(short),
        "short_p50_ms": 1e3 * quantile(latencies, 0.5),
        "short_p99_ms": 1e3 * quantile(latencies, 0.99),
    }


def table(rows: list[dict[str, float]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(f"{value:,.4g}" for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def measure() -> dict[str, dict[str, list[dict[str, float]]]]:
    """All figures, by engine."""
    return {
        name: {
            "open loop": [overload(engine, load) for load in (0.3, 0.5, 0.7, 0.9, 1.0, 1.5, 3.0)],
            "beside bulk": [
                beside(engine, callers, streams=streams, beside=runs)
                for callers in (1, 8)
                for streams, runs in ((0, 2), (2, 1), (2, 2))
            ],
            "greedy caller": [greedy(engine)],
            "long text": [long_text(engine, streams) for streams in (1, 2)],
        }
        for name, engine in ENGINES.items()
    }


SECTIONS = {
    "open loop": "Open loop, 90 % short texts and 10 % of 512 tokens; shares of full-batch speed, calls and tokens.",
    "beside bulk": "Short calls in a closed loop beside streams that saturate the engine.",
    "greedy caller": "Small callers beside one that queued 100,000 tokens.",
    "long text": "Short calls with deadlines of a second beside one text of 8,192 tokens.",
}


def page(figures: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """The figures as a Markdown page."""
    parts = [
        "# Scheduling on a simulated clock",
        "",
        "Written by `python -m tests.bench.simulated`, and held by a test.",
    ]
    for name, sections in figures.items():
        parts += ["", f"## {name[0].upper()}{name[1:]}"]
        for section, words in SECTIONS.items():
            parts += ["", words, "", table(sections[section])]
    return "\n".join([*parts, ""])


def main() -> None:
    """Write the page and its figures."""
    figures = measure()
    (OUT / "scheduling.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (OUT / "scheduling.md").write_text(page(figures), "utf-8")


if __name__ == "__main__":
    main()
