"""Section `served`: our server, the peers' and a server that does nothing, by the same client, turn and turn about."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers import SentenceTransformer

from munjang.encoder.encode import encode
from tests.bench.speed import installed, servers, texts
from tests.bench.speed.stats import interleave, ratio, summary, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.context import Context
    from tests.bench.speed.servers import Server

CASES = {  # callers and texts of a call: seconds before measuring, and measured
    (1, 1): (1.0, 3.0),
    (8, 1): (1.0, 3.0),
    (32, 1): (1.5, 4.0),
    (64, 1): (2.0, 7.0),
    (256, 1): (4.0, 8.0),
    (4, 32): (2.0, 6.0),
    (2, 256): (4.0, 12.0),
}
QUICK_CASES = {(1, 1): (0.3, 1.0), (64, 1): (1.0, 2.0), (2, 32): (0.5, 3.0)}
SECONDS, PEER_SECONDS = 720.0, 1560.0
BULK = "munjang in process"
LONGEST = 60.0
"""The most seconds of one measurement."""


def measure(context: Context) -> dict[str, Any]:
    """Sentences a second and latencies of each server by case, and the cosine of its answers to float32."""
    some = texts.take(context.texts, 500)
    found: dict[str, Any] = {"missing": {}, "cosine": {}, "cases": []}
    with ExitStack() as stack:
        up = _start(context, stack, found)
        _check(context, up, found)
        encoder = context.encoder()
        cases = QUICK_CASES if context.quick else CASES
        budget = (PEER_SECONDS if context.peers else SECONDS) / sum(map(sum, cases.values()))
        for (callers, batch), (warmup, seconds) in cases.items():
            job = {"texts": some, "callers": callers, "batch": batch, "warmup": warmup, "seconds": seconds}
            turns: dict[str, Callable[[], dict[str, float]]] = {
                server.spec.name: lambda server=server, job=job: _run(server, job) for server in up
            }
            turns[BULK] = lambda: {"texts_per_second": len(some) / timed(lambda: encode(encoder, some))}
            rounds = interleave(turns, context.rounds, budget * (warmup + seconds))
            found["cases"].append({"callers": callers, "batch": batch, "servers": _summarise(rounds)})
    return found


def _start(context: Context, stack: ExitStack, found: dict[str, Any]) -> list[Server]:
    dimensions = context.encoder().info.dimensions
    specs = [
        servers.ours(context.registry, context.home),
        servers.simple(context.folder, "openvino"),
        servers.simple(context.folder, "sentence-transformers"),
        servers.null(dimensions),
    ]
    if context.peers:
        peers, found["missing"] = installed.specs(context)
        specs += peers
    up = []
    for spec in specs:
        print(f"  starting {spec.name}", flush=True)
        try:
            up.append(stack.enter_context(servers.running(spec, context.work)))
        except servers.ServerFailed as error:
            found["missing"][spec.name] = str(error)
    return up


def _check(context: Context, up: list[Server], found: dict[str, Any]) -> None:
    some = context.texts[:16]
    truth = SentenceTransformer(str(context.folder), device="cpu", local_files_only=True).encode(some)
    for server in up:
        rows = server.vectors(some).astype(np.float64)
        norms = np.linalg.norm(rows, axis=1)
        if norms.all():
            found["cosine"][server.spec.name] = float((np.einsum("ij,ij->i", rows, truth) / norms).min())


def _run(server: Server, job: dict[str, Any]) -> dict[str, float]:
    """One round on one server: the client's figures, and the server's own processor time a text."""
    given = json.dumps(job | {"protocol": server.spec.protocol, "port": server.port})
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.speed.client"], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the client of {server.spec.name} failed: {done.stderr[-500:]}")
    run = json.loads(done.stdout)
    latency = run["latency_ms"]
    if not latency and not run["failed"] and job["seconds"] < LONGEST:  # too slow to begin one call in that time
        return _run(server, job | {"seconds": 3 * job["seconds"]})
    if not latency:
        raise RuntimeError(f"{server.spec.name} answered no call of {job['callers']} × {job['batch']}: {run['failed']}")
    return {
        "texts_per_second": run["texts_per_second"],
        **{name: latency[name] for name in ("p50", "p95", "p99")},
        "client_cpu_ms": run["client_cpu_ms"],
        "server_cpu_seconds": server.cpu_seconds() - before,
        "failed": sum(run["failed"].values()),
    }


def _summarise(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Each figure summed up, and our rate as a multiple of each one's, round by round."""
    own = [row["texts_per_second"] for row in rounds["munjang"]]
    table: dict[str, Any] = {}
    for name, rows in rounds.items():
        table[name] = {key: summary([row[key] for row in rows]) for key in rows[0]}
        table[name]["munjang_is_times"] = ratio(own, [max(row["texts_per_second"], 1e-9) for row in rows])
    return table
