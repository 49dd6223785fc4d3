"""Section `http`: the same load over HTTP and gRPC in turn, and short calls beside connections that are half open."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from munjang.cli.stack.plan import free_port
from tests.bench.serving.serving import serving
from tests.bench.speed.stats import interleave, ratio, summary

if TYPE_CHECKING:
    from tests.bench.speed.context import Context

CALLERS = (1, 64)
HALF_OPEN = 10_000
ROUNDS_SECONDS = 300.0


def measure(context: Context) -> dict[str, Any]:
    """Texts per second and latencies by callers and door, their ratios, and those beside half-open connections."""
    http_port = free_port()
    seconds = 2.0 if context.quick else 15.0
    found: dict[str, Any] = {"callers": {}}
    with serving(context, http_port=http_port) as server:
        ports = {"gRPC": ("munjang", server.server.port), "HTTP": ("openai", http_port)}
        for callers in CALLERS:
            turns = {
                name: lambda door=door, callers=callers: _run(context, door, callers, seconds)
                for name, door in ports.items()
            }
            rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
            found["callers"][str(callers)] = _compared(rounds)
        most = min(HALF_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000)
        turns = {
            "alone": lambda: _run(context, ports["HTTP"], 8, seconds),
            "beside": lambda: _beside(context, ports["HTTP"], most, seconds),
        }
        rounds = interleave(turns, context.rounds, ROUNDS_SECONDS)
    found["half_open"] = {
        "connections": most,
        "p99": {name: summary([each["p99"] for each in runs]) for name, runs in rounds.items()},
        "p99_over_alone": ratio([each["p99"] for each in rounds["beside"]], [each["p99"] for each in rounds["alone"]]),
    }
    return found


def _compared(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    speed = {name: [each["texts_per_second"] for each in runs] for name, runs in rounds.items()}
    middle = {name: [each["p50"] for each in runs] for name, runs in rounds.items()}
    added = [http - grpc for http, grpc in zip(middle["HTTP"], middle["gRPC"], strict=True)]
    return {
        "texts_per_second": {name: summary(values) for name, values in speed.items()},
        "p50": {name: summary(values) for name, values in middle.items()},
        "speed_of_grpc": ratio(speed["HTTP"], speed["gRPC"]),
        "added_ms": summary(added),
    }


def _run(context: Context, door: tuple[str, int], callers: int, seconds: float) -> dict[str, float]:
    """One round by a client in a process of its own."""
    protocol, port = door
    job = {"protocol": protocol, "port": port, "texts": context.texts[:2000], "callers": callers, "batch": 1}
    given = json.dumps(job | {"warmup": 0.5, "seconds": seconds})
    command = [sys.executable, "-m", "tests.bench.speed.client"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the client over {protocol} failed: {done.stderr[-500:]}")
    run = json.loads(done.stdout)
    if run["failed"]:
        raise RuntimeError(f"calls over {protocol} failed: {run['failed']}")
    return {
        "texts_per_second": run["texts_per_second"],
        "p50": run["latency_ms"]["p50"],
        "p99": run["latency_ms"]["p99"],
    }


def _beside(context: Context, door: tuple[str, int], connections: int, seconds: float) -> dict[str, float]:
    """The same while so many connections are held, each with half of a head sent."""
    with ExitStack() as stack:
        for _ in range(connections):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", door[1]), timeout=10))
            made.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\n")
        return _run(context, door, 8, seconds)
