"""What was promised of speed, and what a run measured: each line with its figure, kept or not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EXACT = 0.9999
MANY_LENGTHS = ("short", "sentences", "mixed")
"""Sets in which texts differ in length; where all are alike, the plain loop is near the processor's peak itself."""

INFINITY = ("Infinity, torch", "Infinity, ONNX")
SIMPLE = "grpc.aio batcher on OpenVINO bfloat16"
BULK = "munjang in process"


@dataclass(frozen=True)
class Promise:
    """One line.

    Attributes:
        text: what is promised.
        measured: in the promise's own unit.
        limit: the least that keeps it, or the most where `most` is set.
    """

    text: str
    measured: float
    limit: float
    most: bool = False

    @property
    def kept(self) -> bool:
        """Whether the figure keeps it."""
        return self.measured <= self.limit if self.most else self.measured >= self.limit


def promises(figures: dict[str, Any]) -> list[Promise]:
    """The promises that the measured sections say something about."""
    readers = {
        "encode": _encode,
        "minilm": _minilm,
        "served": _served,
        "overhead": _overhead,
        "wire": _wire,
        "startup": _startup,
        "linear": _linear,
        "decoder": _decoder,
        "gpu": _gpu,
    }
    return [
        promise
        for name, read in readers.items()
        if name in figures and not {"failed", "skipped"} & figures[name].keys()
        for promise in read(figures[name])
    ]


def _encode(found: dict[str, Any]) -> Iterator[Promise]:
    for name, part in found["sets"].items():
        best = _best(part)
        if name in MANY_LENGTHS:
            yield Promise(f"{name}: × the plain OpenVINO loop, cosine ≥ {EXACT}", best["times_bar"], 1.1)
        if name == "128 tokens":
            yield Promise("128 tokens: share of the bfloat16 peak", best["share_of_peak"], 0.7)


def _minilm(found: dict[str, Any]) -> Iterator[Promise]:
    for name, part in found["sets"].items():
        best = _best(part)
        yield Promise(f"{name}: × sentence-transformers' default, cosine ≥ {EXACT}", best["times_default"], 4.0)
        yield Promise(f"{name}: × the plain OpenVINO loop, cosine ≥ {EXACT}", best["times_bar"], 1.1)


def _best(part: dict[str, Any]) -> dict[str, Any]:
    """Our fastest way that is exact enough."""
    ours = (row for name, row in part["rates"].items() if name.startswith("munjang") and row["worst_cosine"] >= EXACT)
    best: dict[str, Any] = max(ours, key=lambda row: row["median"])
    return best


def _decoder(found: dict[str, Any]) -> Iterator[Promise]:
    times = max(row["times_torch"] for name, row in found["rates"].items() if "OpenVINO" in name)
    yield Promise("a decoder of Qwen3-Embedding-0.6B's shape: × torch in bfloat16", times, 2.0)


def _served(found: dict[str, Any]) -> Iterator[Promise]:
    cases = {(case["callers"], case["batch"]): case["servers"] for case in found["cases"]}
    for callers, least in ((64, 4.0), (1, 1.5)):
        servers = cases.get((callers, 1), {})
        theirs = [servers[name] for name in INFINITY if name in servers]
        if theirs:
            times = min(row["munjang_is_times"] for row in theirs)
            yield Promise(f"{callers} callers: × the better Infinity's sentences a second", times, least)
        if theirs and callers > 1:
            p99 = servers["munjang"]["p99"]["median"] / min(row["p99"]["median"] for row in theirs)
            yield Promise(f"{callers} callers: p99 as a share of the better Infinity's", p99, 1 / 3, most=True)
    if SIMPLE in cases.get((64, 1), {}):
        yield Promise("64 callers: × a simple batcher on OpenVINO", cases[64, 1][SIMPLE]["munjang_is_times"], 1.3)
    if (256, 1) in cases:
        yield Promise(
            "256 callers: share of our own bulk rate, on what the client leaves of the processor",
            _share_of_bulk(cases[256, 1], found["machine"]["cores"]),
            0.9,
        )


def _share_of_bulk(servers: dict[str, Any], cores: int) -> float:
    """Our rate over that in process, had the server the processor time that the client took."""
    own = servers["munjang"]
    clients = own["texts_per_second"]["median"] * own["client_cpu_ms"]["median"] / 1000 / cores
    return float(servers[BULK]["munjang_is_times"] / (1 - clients))


def _overhead(found: dict[str, Any]) -> Iterator[Promise]:
    yield Promise("one call over the bare forward, ms", found["over_forward_ms"]["median"], 1.5, most=True)


def _wire(found: dict[str, Any]) -> Iterator[Promise]:
    yield Promise("packed bytes: × faster than repeated float, bit-exact", _exactly(found), 10.0)


def _exactly(found: dict[str, Any]) -> float:
    return float(found["times_faster"]) if all(found["bit_exact"].values()) else 0.0


def _startup(found: dict[str, Any]) -> Iterator[Promise]:
    yield Promise("start from a ready registry, s", found["ready_start_seconds"]["median"], 10.0, most=True)
    limit = found["memory_limit_bytes"] / 1e6
    yield Promise("memory at rest, MB", found["memory_bytes"]["median"] / 1e6, limit, most=True)


def _linear(found: dict[str, Any]) -> Iterator[Promise]:
    for name, title in (("texts_tiny_model", "texts"), ("tokens", "tokens")):
        yield Promise(f"time against number of {title}: exponent", found[name]["exponent"], 1.1, most=True)


def _gpu(found: dict[str, Any]) -> Iterator[Promise]:
    rates = found["rates"]
    yield Promise("GPU, 128 tokens: share of the bfloat16 peak", found["share_of_peak"], 0.5)
    yield Promise("GPU: × sentence-transformers in float16", rates["munjang is × sentence-transformers"]["median"], 3.0)
    yield Promise("GPU, 1 caller: p50, ms", rates["served, 1 callers, 1 a call, p50 ms"]["median"], 3.0, most=True)
    yield Promise(
        "GPU: sentences a second in calls of 32",
        rates["served, 64 callers, 32 a call, texts a second"]["median"],
        20_000,
    )
