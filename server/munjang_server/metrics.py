"""The server's Prometheus metrics: requests, the scheduler, the engine, and what the server depends on.

Every series that is known beforehand starts at zero. The cache's metrics are in `embedding_cache`.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from munjang import errors
from munjang.client.jobs import JobQueue
from munjang.engine.contract import VersionState
from munjang.metrics import Disks, QueueDepth
from munjang.v1 import error_reason_pb2
from munjang_server.scheduling.api import BatchSeen, Lane, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import CollectorRegistry, Metric

    from munjang.engine.contract import EngineContract
    from munjang_server.scheduling.api import SchedulerContract

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LOAD_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
SIZES: Final = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
RATIOS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75)
REASONS: Final = tuple(
    name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number
)
REJECTIONS: Final = tuple(
    kind.reason
    for kind in (errors.Overloaded, errors.DeadlineUnreachable, errors.ShuttingDown, errors.EngineUnavailable)
)
DROPS: Final = ("expired", "cancelled", *REASONS)
QUEUE_SECONDS: Final = 2.0
"""How long one read of the job queue waits for Redis, well within the time of a scrape."""

log = structlog.get_logger("munjang.server.engine")


class RequestMetrics:
    """Counts calls: how many, how they ended, how long they took, and how many texts they had.

    Args:
        registry: where the metrics are registered.
        rpcs: the names of all methods, by the door that serves them.

    Attributes:
        in_flight: calls being served, by method and door.
    """

    def __init__(self, registry: CollectorRegistry, rpcs: Mapping[str, Iterable[str]]) -> None:
        labels = ["rpc", "door"]
        requests = Counter("munjang_server_requests", "Calls that ended.", [*labels, "code"], registry=registry)
        seconds = Histogram(
            "munjang_server_request_seconds", "How long calls took.", labels, buckets=SECONDS, registry=registry
        )
        in_flight = Gauge("munjang_server_requests_in_flight", "Calls being served.", labels, registry=registry)
        failures = Counter(
            "munjang_server_errors", "Calls and stream messages that failed.", [*labels, "reason"], registry=registry
        )
        answered = ["rpc", "version", "lane"]
        self._texts = Counter("munjang_server_texts", "Texts that were answered.", answered, registry=registry)
        self._tokens = Counter("munjang_server_tokens", "Tokens that were answered.", answered, registry=registry)
        served = [(rpc, door) for door, names in rpcs.items() for rpc in names]
        self.in_flight = dict.fromkeys(served, 0)
        self._requests = {(*key, code): requests.labels(*key, code.name) for key in served for code in grpc.StatusCode}
        self._seconds = {key: seconds.labels(*key) for key in served}
        self._failures = {(*key, reason): failures.labels(*key, reason) for key in served for reason in REASONS}
        self._answered: dict[tuple[str, int, Lane], tuple[Counter, Counter]] = {}
        for key in served:
            in_flight.labels(*key).set_function(partial(self.in_flight.__getitem__, key))

    def ended(self, rpc: str, door: str, code: grpc.StatusCode, seconds: float) -> None:
        """A call has ended."""
        self.in_flight[rpc, door] -= 1
        self._requests[rpc, door, code].inc()
        self._seconds[rpc, door].observe(seconds)

    def failed(self, rpc: str, door: str, reason: str) -> None:
        """A call or a message of a stream failed for a reason."""
        self._failures[rpc, door, reason].inc()

    def answered(self, rpc: str, version: int, lane: Lane, texts: int, tokens: int) -> None:
        """Texts were encoded by a version and answered."""
        counters = self._answered.get((rpc, version, lane)) or self._series(rpc, version, lane)
        counters[0].inc(texts)
        counters[1].inc(tokens)

    def expect(self, version: int, rpcs: Iterable[str]) -> None:
        """Start the series of a new version at zero."""
        for rpc in rpcs:
            for lane in Lane:
                self._series(rpc, version, lane)

    def _series(self, rpc: str, version: int, lane: Lane) -> tuple[Counter, Counter]:
        labels = (rpc, str(version), lane.value)
        counters = (self._texts.labels(*labels), self._tokens.labels(*labels))
        return self._answered.setdefault((rpc, version, lane), counters)


class SchedulerMetrics(Observer):
    """Counts what the scheduler forms, runs, rejects and drops; called from its threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"munjang_server_{name}", help_text, labels, registry=registry)

        def histogram(name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"munjang_server_{name}", help_text, labels, buckets=buckets, registry=registry)

        lanes = tuple(Lane)
        forward = histogram("forward_seconds", "Duration of a forward.", SECONDS, "version", "lane")
        failures = counter("forward_failures", "Forwards that raised.", "lane")
        rejected = counter("rejected_requests", "Requests that were not admitted.", "reason", "lane")
        dropped = counter("dropped_texts", "Admitted texts that were not run.", "reason", "lane")
        age = histogram("queue_age_seconds", "Wait of the oldest text of a batch.", SECONDS, "lane")
        tokens = histogram("batch_tokens", "Tokens of a batch, without padding.", SIZES, "lane")
        texts = histogram("batch_texts", "Texts of a batch.", SIZES, "lane")
        padding = histogram("padding_ratio", "Share of a batch's tokens that are padding.", RATIOS, "lane")
        computed = counter("computed_tokens", "Tokens of all batches, padding included.", "lane")
        self._forward = cache(forward.labels)
        self._failures = {lane: failures.labels(lane) for lane in lanes}
        self._rejected = rejected.labels
        self._dropped = dropped.labels
        self._batch = {lane: (age.labels(lane), tokens.labels(lane), texts.labels(lane)) for lane in lanes}
        self._padding = {lane: (padding.labels(lane), computed.labels(lane)) for lane in lanes}
        self._wasted = counter(
            "wasted_tokens", "Tokens computed for callers that had gone or whose deadline had passed."
        )
        self._splits = counter("batch_splits", "Failed batches that were split to find the text that fails.")
        self._failed = counter("failed_texts", "Texts that fail the forward, also alone.")
        self._memory = counter("out_of_memory", "Forwards that ran out of memory.")
        self._probe = histogram("probe_seconds", "Duration of a probe forward.", SECONDS)
        self._probe_failures = counter("probe_failures", "Probe forwards that failed.")
        self._restarts = counter("engine_restarts", "Runner threads that died or failed and were restarted.")
        self._healthy = Gauge("munjang_server_engine_healthy", "1 while forwards succeed.", registry=registry)
        self._healthy.set(1)
        for lane in lanes:
            for reason in REJECTIONS:
                rejected.labels(reason, lane)
            for reason in DROPS:
                dropped.labels(reason, lane)

    def batch(self, seen: BatchSeen) -> None:
        """Count a batch."""
        age, tokens, texts = self._batch[seen.lane]
        age.observe(seen.oldest_seconds)
        tokens.observe(seen.tokens)
        texts.observe(seen.texts)
        padding, computed = self._padding[seen.lane]
        padding.observe(1 - seen.tokens / max(seen.computed_tokens, 1))
        computed.inc(seen.computed_tokens)

    def forward(self, version: int, lane: Lane, seconds: float, ok: bool) -> None:
        """Time a forward."""
        self._forward(version, lane).observe(seconds)
        if not ok:
            self._failures[lane].inc()

    def refused(self, reason: str, lane: Lane, texts: int) -> None:  # noqa: ARG002 - of the protocol
        """Count a rejected request."""
        self._rejected(reason, lane).inc()

    def dropped(self, reason: str, lane: Lane, texts: int) -> None:
        """Count dropped texts."""
        self._dropped(reason, lane).inc(texts)

    def abandoned(self, version: int, tokens: int) -> None:  # noqa: ARG002 - of the protocol
        """Count wasted tokens."""
        self._wasted.inc(tokens)

    def split(self, version: int) -> None:  # noqa: ARG002 - of the protocol
        """Count a split batch."""
        self._splits.inc()

    def failed(self, version: int, texts: int) -> None:  # noqa: ARG002 - of the protocol
        """Count texts that fail."""
        self._failed.inc(texts)

    def out_of_memory(self, version: int, budget: int) -> None:  # noqa: ARG002 - of the protocol
        """Count a forward that ran out of memory."""
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
        """Start the series of a new version at zero."""
        for lane in Lane:
            self._forward(version, lane)


class EngineMetrics:
    """Counts and logs what the engine does; implements `EngineObserver`.

    Args:
        registry: where the metrics are registered.
        expect: told of every version that was loaded, so that its series start at zero.
        forget: told of every version that was unloaded, in any thread.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        expect: Callable[[int], None],
        forget: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._expect = expect
        self._forget = forget
        loads = Counter("munjang_server_loads", "Versions that were loaded, or not.", ["outcome"], registry=registry)
        self._loaded = loads.labels("ok")
        self._load_failed = loads.labels("failed")
        self._load_seconds = Histogram(
            "munjang_server_load_seconds", "Duration of loading a version.", buckets=LOAD_SECONDS, registry=registry
        )
        self._swaps = Counter("munjang_server_swaps", "Aliases that moved to another version.", registry=registry)
        self._swap_seconds = Histogram(
            "munjang_server_swap_seconds",
            "From a change in the registry to its being served.",
            buckets=LOAD_SECONDS,
            registry=registry,
        )
        self._unloads = Counter("munjang_server_unloads", "Versions that were unloaded.", registry=registry)
        self._serving = Gauge(
            "munjang_server_alias_version", "The version that an alias answers with.", ["alias"], registry=registry
        )

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        """Count a load, and say why it failed."""
        self._load_seconds.observe(seconds)
        if error is None:
            self._expect(version)
            self._loaded.inc()
            log.info("version loaded", version=version, seconds=round(seconds, 3))
        else:
            self._load_failed.inc()
            reason = f"{type(error).__name__}: {error}"
            log.error("version failed to load; the others are still served", version=version, reason=reason)

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        """Count a swap."""
        self._swaps.inc()
        self._swap_seconds.observe(seconds)
        self._serving.labels(alias).set(new)
        log.info("alias moved", alias=alias, old=old, new=new, seconds=round(seconds, 3))

    def unloaded(self, version: int) -> None:
        """Count an unloading."""
        self._forget(version)
        self._unloads.inc()
        log.info("version unloaded", version=version)


def show_load(registry: CollectorRegistry, scheduler: SchedulerContract) -> None:
    """Show how busy the scheduler is, read at each scrape."""

    def waiting_tokens(lane: Lane) -> int:
        return scheduler.load.queued_tokens.get(lane, 0)

    def waiting_texts(lane: Lane) -> int:
        return scheduler.load.queued_texts.get(lane, 0)

    queued_tokens = Gauge("munjang_server_queued_tokens", "Tokens in the queue.", ["lane"], registry=registry)
    queued_texts = Gauge("munjang_server_queued_texts", "Texts in the queue.", ["lane"], registry=registry)
    for lane in Lane:
        queued_tokens.labels(lane).set_function(partial(waiting_tokens, lane))
        queued_texts.labels(lane).set_function(partial(waiting_texts, lane))
    running = Gauge("munjang_server_running_tokens", "Tokens of the forwards that run.", registry=registry)
    running.set_function(lambda: scheduler.load.running_tokens)
    speed = Gauge("munjang_server_tokens_per_second", "Measured speed of full batches.", registry=registry)
    speed.set_function(lambda: scheduler.load.tokens_per_second)
    budget = Gauge("munjang_server_batch_budget_tokens", "The present token budget of a batch.", registry=registry)
    budget.set_function(lambda: scheduler.load.batch_tokens)


def show_versions(registry: CollectorRegistry, engine: EngineContract) -> None:
    """Show how many versions are in each state, read at each scrape."""

    def count(*states: VersionState) -> int:
        return sum(status.state in states for status in engine.versions())

    versions = Gauge(
        "munjang_server_versions", "Versions by state; published: not loaded.", ["state"], registry=registry
    )
    for state in VersionState:
        versions.labels(state).set_function(partial(count, state))
    registry.register(VersionInfo(engine))
    resident = Gauge("munjang_server_resident_versions", "Versions in memory.", registry=registry)
    resident.set_function(partial(count, VersionState.AVAILABLE, VersionState.DRAINING))
    ready = Gauge(
        "munjang_server_ready", "1 while the first watched alias has a version to answer with.", registry=registry
    )
    ready.set_function(lambda: engine.ready)


class VersionInfo(Collector):
    """`munjang_server_version_info`: 1 for each available version; its labels join a version's number to its space."""

    def __init__(self, engine: EngineContract) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """The versions that are available at this scrape."""
        info = GaugeMetricFamily(
            "munjang_server_version_info", "What each available version is.", labels=["version", "space_id", "kind"]
        )
        for status in self._engine.versions():
            if status.state is VersionState.AVAILABLE and status.manifest is not None:
                manifest = status.manifest
                info.add_metric([str(status.version), manifest.space_id, manifest.kind], 1)
        yield info


def show_registry(registry: CollectorRegistry, error: Callable[[], object], disks: Mapping[str, Path]) -> None:
    """Show the state of the model registry and its disks, read at each scrape.

    Args:
        registry: where the metrics are registered.
        error: says why the last read of the model registry failed; None if it succeeded.
        disks: folders that versions are kept in, by the name of their place; they need not exist yet.
    """
    readable = Gauge("munjang_server_registry_readable", "1 if the last read of it succeeded.", registry=registry)
    readable.set_function(lambda: error() is None)
    registry.register(Disks("server", disks))


def show_queue(registry: CollectorRegistry, redis_url: str) -> None:
    """Show how many steps of jobs wait and run, read at each scrape; nothing where there is no queue or no answer.

    The server shows them too, so that waiting jobs are visible even if no worker runs.
    """

    @cache
    def queue() -> JobQueue:
        return JobQueue(redis_url, seconds=QUEUE_SECONDS, retries=0)

    def depth() -> tuple[int, int] | None:
        try:
            return queue().depth()
        except errors.QueueUnavailable:
            return None

    if redis_url:
        registry.register(QueueDepth(depth))
