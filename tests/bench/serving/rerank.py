"""Section `rerank`: callers of Rerank beside callers of Encode, and a reranker that changes under load.

The cross-encoder is the starter model's transformer with a head of random weights. Its scores mean nothing, its speed
does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from munjang.cli.load_generator import Load, batches
from munjang.publishing import publish_model
from munjang.registry import RERANK, Registry
from tests.bench.serving import samples
from tests.bench.serving.callers import Reranking
from tests.bench.serving.serving import client, run, serving
from tests.bench.speed.stats import interleave

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from munjang.cli.load_generator import Sample
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

CALLERS = 32
"""That rerank, each with its next call as soon as it was answered."""

DOCUMENTS = 10
RATE = 20.0
"""Calls of Encode a second, of one text each, at random moments."""

SWAPS = 6
BETWEEN_SECONDS = 1.0
LONGEST = 1800.0
ROUNDS_SECONDS = 200.0


def measure(context: Context) -> dict[str, Any]:
    """Latencies of both kinds of calls alone and beside each other, and failures while the reranker changes."""
    registry = Registry(context.registry)
    versions = [_publish(context, registry, seed) for seed in (1, 2)]
    registry.promote(RERANK, versions[0], "benchmark")
    seconds = 3.0 if context.quick else 14.0
    with serving(context, watch_seconds=0.1) as server:
        run(_answers(server, versions[0]))

        def turn(*kinds: str) -> dict[str, list[Sample]]:
            return run(_calls(server, context.texts, kinds, asyncio.sleep(seconds)))

        turns = {"alone": lambda: turn("Encode") | turn("Rerank"), "together": lambda: turn("Encode", "Rerank")}
        rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
        swaps = _swaps(server, registry, versions, 2 if context.quick else SWAPS)
        rounds["together, swapping"] = [run(_calls(server, context.texts, ("Encode", "Rerank"), swaps))]
    calls = {
        f"{kind} {name}": [call for found in each for call in found[kind]]
        for name, each in rounds.items()
        for kind in ("Encode", "Rerank")
    }
    return {
        "callers": CALLERS,
        "documents": DOCUMENTS,
        "rate": RATE,
        "swaps": 2 if context.quick else SWAPS,
        "latency_ms": {name: samples.latencies(found) for name, found in calls.items()},
        "failures": {name: samples.failures(found) for name, found in calls.items()},
        "versions": sorted({call.version for call in calls["Rerank together, swapping"] if not call.reason}),
    }


def _publish(context: Context, registry: Registry, seed: int) -> int:
    """Publish the starter's transformer with a head of this seed."""
    torch.manual_seed(seed)
    folder = context.work / f"cross-{seed}"
    AutoModelForSequenceClassification.from_pretrained(context.folder, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(context.folder).save_pretrained(folder)
    return publish_model(registry, folder).version


async def _answers(server: Serving, version: int) -> None:
    """Wait until the alias answers with a version: it is converted first, which takes minutes on a slow machine."""
    async with client(server.target) as caller, asyncio.timeout(600):
        while (await caller.aliases())[RERANK].serving != version:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.1)


async def _calls(
    server: Serving, texts: list[str], kinds: Sequence[str], meanwhile: Awaitable[object]
) -> dict[str, list[Sample]]:
    """Calls of these kinds side by side for as long as something else takes; what became of each, by kind."""
    async with client(server.target) as one, client(server.target) as other:
        loads = {
            "Encode": Load(one, batches(texts, 1, seed=0), {}, LONGEST, lambda _: None),
            "Rerank": Load(Reranking(other), batches(texts, 1 + DOCUMENTS, seed=1), {}, LONGEST, lambda _: None),  # type: ignore[arg-type]  # as `Load` calls it
        }
        works = {"Encode": loads["Encode"].open(RATE, seed=0), "Rerank": loads["Rerank"].closed(CALLERS)}
        async with asyncio.TaskGroup() as running:
            for kind, work in works.items():
                if kind in kinds:
                    running.create_task(work)
                else:
                    work.close()
            await meanwhile
            for load in loads.values():
                load.seconds = 0.0  # no new calls
    return {kind: list(loads[kind].samples) for kind in kinds}


async def _swaps(server: Serving, registry: Registry, versions: list[int], swaps: int) -> None:
    """Let the alias of the reranker name the other version, again and again."""
    for turn in range(1, swaps + 1):
        version = versions[turn % 2]
        await asyncio.to_thread(registry.promote, RERANK, version, "benchmark")
        await _answers(server, version)
        await asyncio.sleep(BETWEEN_SECONDS)
