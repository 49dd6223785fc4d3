"""Metrics of the batcher: what it formed, ran, refused and dropped, and how busy it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from munjang import errors
from munjang_server.batching.contract import Lane
from munjang_server.batching.observer import BatchSeen, Observer
from munjang_server.metrics.calls import REASONS, SECONDS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from munjang_server.batching.contract import BatcherContract

REFUSALS: Final = tuple(
    kind.reason
    for kind in (errors.Overloaded, errors.DeadlineUnreachable, errors.ShuttingDown, errors.EngineUnavailable)
)
DROPS: Final = ("expired", "cancelled", *REASONS)
SIZES: Final = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
RATIOS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75)


class BatchMetrics(Observer):
    """Counts what the batcher does; called from its threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        lane, version_lane = ["lane"], ["version", "lane"]
        self._forward = Histogram(
            "munjang_server_forward_seconds", "Forwards.", version_lane, buckets=SECONDS, registry=registry
        )
        self._failures = Counter("munjang_server_forward_failures", "Forwards that raised.", lane, registry=registry)
        self._refused = Counter(
            "munjang_server_refused", "Requests not admitted.", ["reason", "lane"], registry=registry
        )
        self._dropped = Counter(
            "munjang_server_dropped_texts", "Admitted texts that were not run.", ["reason", "lane"], registry=registry
        )
        self._age = Histogram(
            "munjang_server_queue_age_seconds",
            "Wait of the oldest text of a batch.",
            lane,
            buckets=SECONDS,
            registry=registry,
        )
        self._tokens = Histogram(
            "munjang_server_batch_tokens", "Real tokens of a batch.", lane, buckets=SIZES, registry=registry
        )
        self._texts = Histogram(
            "munjang_server_batch_texts", "Texts of a batch.", lane, buckets=SIZES, registry=registry
        )
        self._padding = Histogram(
            "munjang_server_padding_ratio",
            "Share of a batch's tokens that are padding.",
            lane,
            buckets=RATIOS,
            registry=registry,
        )
        self._padded = Counter(
            "munjang_server_padded_tokens", "Tokens of all batches, padding included.", lane, registry=registry
        )
        self._dead = Counter(
            "munjang_server_dead_tokens", "Tokens that were run for callers who had gone.", registry=registry
        )
        self._splits = Counter("munjang_server_batch_splits", "Failed batches that were split.", registry=registry)
        self._guilty = Counter("munjang_server_failed_texts", "Texts that fail the forward.", registry=registry)
        self._memory = Counter("munjang_server_out_of_memory", "Forwards that ran out of memory.", registry=registry)
        self._probe = Histogram("munjang_server_probe_seconds", "Probe forwards.", buckets=SECONDS, registry=registry)
        self._probe_failures = Counter(
            "munjang_server_probe_failures", "Probe forwards that failed.", registry=registry
        )
        self._restarts = Counter(
            "munjang_server_engine_restarts", "Times a thread of the engine was set going again.", registry=registry
        )
        self._healthy = Gauge("munjang_server_engine_healthy", "1 where forwards succeed.", registry=registry)
        self._healthy.set(1)
        self._begin_at_zero()

    def batch(self, seen: BatchSeen) -> None:
        """Count a batch."""
        self._age.labels(seen.lane).observe(seen.oldest_seconds)
        self._tokens.labels(seen.lane).observe(seen.tokens)
        self._texts.labels(seen.lane).observe(seen.texts)
        self._padding.labels(seen.lane).observe(1 - seen.tokens / max(seen.computed_tokens, 1))
        self._padded.labels(seen.lane).inc(seen.computed_tokens)

    def forward(self, version: int, lane: Lane, seconds: float, ok: bool) -> None:
        """Time a forward."""
        self._forward.labels(version, lane).observe(seconds)
        if not ok:
            self._failures.labels(lane).inc()

    def refused(self, reason: str, lane: Lane, texts: int) -> None:  # noqa: ARG002 - of the protocol
        """Count a refusal."""
        self._refused.labels(reason, lane).inc()

    def dropped(self, reason: str, lane: Lane, texts: int) -> None:
        """Count dropped texts."""
        self._dropped.labels(reason, lane).inc(texts)

    def dead(self, version: int, tokens: int) -> None:  # noqa: ARG002 - of the protocol
        """Count wasted tokens."""
        self._dead.inc(tokens)

    def split(self, version: int) -> None:  # noqa: ARG002 - of the protocol
        """Count a split."""
        self._splits.inc()

    def failed(self, version: int, texts: int) -> None:  # noqa: ARG002 - of the protocol
        """Count guilty texts."""
        self._guilty.inc(texts)

    def out_of_memory(self, version: int, budget: int) -> None:  # noqa: ARG002 - of the protocol
        """Count memory that ran out."""
        self._memory.inc()

    def probe(self, version: int, seconds: float, ok: bool) -> None:  # noqa: ARG002 - of the protocol
        """Time a probe."""
        self._probe.observe(seconds)
        if not ok:
            self._probe_failures.inc()

    def restarted(self) -> None:
        """Count a restart."""
        self._restarts.inc()

    def health(self, healthy: bool) -> None:
        """Show the engine's health."""
        self._healthy.set(healthy)

    def expect(self, version: int) -> None:
        """Let the series of a new version begin at zero."""
        for lane in Lane:
            self._forward.labels(version, lane)

    def _begin_at_zero(self) -> None:
        for lane in Lane:
            for metric in (self._failures, self._age, self._tokens, self._texts, self._padding, self._padded):
                metric.labels(lane)
            for reason in REFUSALS:
                self._refused.labels(reason, lane)
            for reason in DROPS:
                self._dropped.labels(reason, lane)


def show_load(registry: CollectorRegistry, batcher: BatcherContract) -> None:
    """Show how busy the batcher is, read whenever the page is."""
    queued_tokens = Gauge("munjang_server_queued_tokens", "Tokens that wait.", ["lane"], registry=registry)
    queued_texts = Gauge("munjang_server_queued_texts", "Texts that wait.", ["lane"], registry=registry)
    for lane in Lane:
        queued_tokens.labels(lane).set_function(partial(_queued_tokens, batcher, lane))
        queued_texts.labels(lane).set_function(partial(_queued_texts, batcher, lane))
    running = Gauge("munjang_server_running_tokens", "Tokens of the forwards that run.", registry=registry)
    running.set_function(lambda: batcher.load.running_tokens)
    speed = Gauge("munjang_server_tokens_per_second", "Measured speed of full batches.", registry=registry)
    speed.set_function(lambda: batcher.load.tokens_per_second)
    budget = Gauge("munjang_server_batch_budget_tokens", "The present budget of a batch.", registry=registry)
    budget.set_function(lambda: batcher.load.batch_tokens)


def _queued_tokens(batcher: BatcherContract, lane: Lane) -> int:
    return batcher.load.queued_tokens.get(lane, 0)


def _queued_texts(batcher: BatcherContract, lane: Lane) -> int:
    return batcher.load.queued_texts.get(lane, 0)
