"""Metrics of calls: how many, how they ended, how long they took, and what they brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from prometheus_client import Counter, Gauge, Histogram

from munjang.v1 import error_reason_pb2
from munjang_server.batching.contract import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REASONS: Final = tuple(
    name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number
)


class CallMetrics:
    """Counts calls. Every series that can be known beforehand stands at zero from the start.

    Args:
        registry: where the metrics are registered.
        rpcs: the names of all methods.
    """

    def __init__(self, registry: CollectorRegistry, rpcs: Iterable[str]) -> None:
        requests = Counter("munjang_server_requests", "Calls that ended.", ["rpc", "code"], registry=registry)
        seconds = Histogram(
            "munjang_server_request_seconds", "How long calls took.", ["rpc"], buckets=SECONDS, registry=registry
        )
        in_flight = Gauge("munjang_server_requests_in_flight", "Calls being served.", ["rpc"], registry=registry)
        self._errors = Counter(
            "munjang_server_errors", "Calls and stream messages that failed.", ["rpc", "reason"], registry=registry
        )
        self._texts = Counter(
            "munjang_server_texts", "Texts that were answered.", ["rpc", "version", "lane"], registry=registry
        )
        self._tokens = Counter(
            "munjang_server_tokens", "Tokens that were answered.", ["rpc", "version", "lane"], registry=registry
        )
        self._rpcs = tuple(rpcs)
        self.requests = {rpc: {code: requests.labels(rpc, code.name) for code in grpc.StatusCode} for rpc in self._rpcs}
        self.seconds = {rpc: seconds.labels(rpc) for rpc in self._rpcs}
        self.in_flight = {rpc: in_flight.labels(rpc) for rpc in self._rpcs}
        self._failures = {(rpc, why): self._errors.labels(rpc, why) for rpc in self._rpcs for why in REASONS}
        self._answered: dict[tuple[str, int, Lane], tuple[Counter, Counter]] = {}

    def failed(self, rpc: str, reason: str) -> None:
        """A call or a message of a stream failed for a reason."""
        self._failures[rpc, reason].inc()

    def answered(self, rpc: str, version: int, lane: Lane, texts: int, tokens: int) -> None:
        """Texts were encoded by a version and answered."""
        key = (rpc, version, lane)
        counters = self._answered.get(key)
        if counters is None:
            counters = self._answered[key] = self._labelled(*key)
        counters[0].inc(texts)
        counters[1].inc(tokens)

    def expect(self, version: int, rpcs: Iterable[str]) -> None:
        """Let the series of a new version begin at zero."""
        for rpc in rpcs:
            for lane in Lane:
                self._answered.setdefault((rpc, version, lane), self._labelled(rpc, version, lane))

    def _labelled(self, rpc: str, version: int, lane: Lane) -> tuple[Counter, Counter]:
        labels = (rpc, str(version), lane.value)
        return self._texts.labels(*labels), self._tokens.labels(*labels)
