"""Prometheus metrics of a worker process, all created at the start. `process` serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from munjang.metrics import Disks, QueueDepth, new_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """The metrics, in a registry of their own.

    Rates (rows, tokens per second) are Prometheus's to make of the counters.
    """

    def __init__(self) -> None:
        self.registry = new_registry("worker")
        self.rows = self._counter("rows", "Rows worked on, by outcome (encoded, failed).", ["outcome"])
        self.tokens = self._counter("tokens", "Tokens that the model read for encoded rows.")
        self.truncated = self._counter("truncated_texts", "Texts that were cut at the model's limit.")
        self.steps = self._counter(
            "steps", "Steps of jobs, by step (plan, shard, finish) and outcome.", ["step", "outcome"]
        )
        self.shard_seconds = Histogram(
            "munjang_worker_shard_seconds",
            "Time from taking a shard to its commit.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.model_loads = self._counter("model_loads", "Models loaded by this process.")
        self.model_version = Gauge(
            "munjang_worker_model_version", "The version in memory; 0 if none.", registry=self.registry
        )
        self.busy = Gauge("munjang_worker_busy", "1 while a step is being worked on.", registry=self.registry)
        self.heartbeat = Gauge(
            "munjang_worker_heartbeat_timestamp_seconds",
            "When the last heartbeat reached Redis, while busy.",
            registry=self.registry,
        )
        for outcome in ("encoded", "failed"):
            self.rows.labels(outcome)
        for step in ("plan", "shard", "finish"):
            for outcome in ("done", "interrupted", "failed"):
                self.steps.labels(step, outcome)

    def watch_queue(self, depth: Callable[[], tuple[int, int] | None]) -> None:
        """Add the queue's depth, which `depth` reads whenever the metrics are read."""
        self.registry.register(QueueDepth(depth))

    def watch_disks(self, disks: Mapping[str, Path]) -> None:
        """Add the room where results and versions are kept, by the name of the place."""
        self.registry.register(Disks("worker", disks))

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(f"munjang_worker_{name}", text, labels or [], registry=self.registry)
