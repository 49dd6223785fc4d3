"""What was promised of the serving core, and what a run measured: each line with its figure, held or not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bench.speed.promises import Promise

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALTH_SECONDS = 5.0
FAULTS = ("every forward fails", "a forward is stuck", "no memory at all")
"""Those that health must tell of."""


def promises(figures: dict[str, Any]) -> list[Promise]:
    """The promises that the measured sections say something about."""
    readers = {
        "swaps": _swaps,
        "overload": _overload,
        "hostile": _hostile,
        "mixed": _mixed,
        "unary": _unary,
        "faults": _faults,
        "stream": _stream,
        "restart": _restart,
        "rerank": _rerank,
    }
    return [
        promise
        for name, read in readers.items()
        if name in figures and "failed" not in figures[name]
        for promise in read(figures[name])
    ]


def _swaps(found: dict[str, Any]) -> Iterator[Promise]:
    kept = found["resident"]
    runs = (kept, found["loading"])
    yield _most("swaps: failed calls", sum(sum(run["failed"].values()) for run in runs), 0)
    yield _most("swaps: mixed replies", sum(run["mixed"] for run in runs), 0)
    yield _most("swaps of resident versions: p99 over steady state", kept["p99_over_steady"]["swap"], 1.5)
    for kind, growth in kept["memory_growth"].items():
        few, all_of_them = kept["memory"]
        yield _most(f"swaps: {kind.upper()} after {all_of_them} over that after {few}", 1 + growth, 1.1)


def _rerank(found: dict[str, Any]) -> Iterator[Promise]:
    failed = sum(sum(reasons.values()) for reasons in found["failures"].values())
    yield _most("Rerank beside Encode, and swaps of the reranker: failed calls", failed, 0)


def _overload(found: dict[str, Any]) -> Iterator[Promise]:
    yield Promise("3 × capacity: goodput over peak", found["goodput_over_peak"]["patient"], 0.9)
    patient = found["floods"]["patient"]
    p99 = max(flood["admitted_ms"]["p99"] for flood in patient)
    yield _most("3 × capacity: p99 of admitted calls, ms", p99, found["deadline_ms"])
    yield _most("3 × capacity: failures other than refusals", sum(flood["other_failures"] for flood in patient), 0)
    yield _most("3 × capacity: resident memory at most over that before", 1 + found["memory_growth"], 1.1)
    for name, floods in found["floods"].items():
        dead, real = (sum(flood["tokens"][key] for flood in floods) for key in ("dead", "real"))
        title = {"patient": "with deadlines", "leaving": "where callers give up, too"}[name]
        yield _most(f"tokens for callers who had gone or expired, {title}, %", 100 * dead / max(1, real), 1.0)


def _hostile(found: dict[str, Any]) -> Iterator[Promise]:
    (times,) = found["p99_over_alone"].values()
    yield _most("short calls beside hostile texts: p99 over that alone", times, 3.0)
    yield _most("short calls beside hostile texts: failed", sum(found["failed_short"].values()), 0)
    yield _most("hostile texts: times that health turned", int(found["health_turned"]), 0)


def _mixed(found: dict[str, Any]) -> Iterator[Promise]:
    for load, tokens in found["padding"].items():
        yield _most(f"mixed lengths, {load}: padding, %", 100 * tokens["padding"], 10.0)
    for name, times in found["p99_over_alone"].items():
        yield _most(f"short calls {name} stream: p99 over that alone", times, 3.0)


def _unary(found: dict[str, Any]) -> Iterator[Promise]:
    yield _most("one call over the bare forward, ms", found["over_forward_ms"]["median"], 1.5)


def _faults(found: dict[str, Any]) -> Iterator[Promise]:
    for name in FAULTS:
        fault = found["faults"][name]
        yield _most(f"{name}: s until health turns", fault["not_serving_seconds"], HEALTH_SECONDS)
        yield _most(f"{name}: s until it is back", fault["serving_again_seconds"], HEALTH_SECONDS)
    poison = found["poison"]
    named = [error["index"] for error in poison["errors"]] == [poison["poisoned"]]
    answered = poison["answered"] if named else 0
    yield Promise("a poisoned text: good answers beside one error that names it", answered, poison["texts"] - 1)


def _stream(found: dict[str, Any]) -> Iterator[Promise]:
    texts = f"{found['texts']:,}"
    yield _most(f"{texts} texts, read slowly: memory at most over that before", 1 + found["memory_growth"], 1.1)


def _restart(found: dict[str, Any]) -> Iterator[Promise]:
    yield _most("rolling restart: failed calls", sum(found["failed_calls"].values()), 0)


def _most(text: str, measured: float, limit: float) -> Promise:
    return Promise(text, measured, limit, most=True)
