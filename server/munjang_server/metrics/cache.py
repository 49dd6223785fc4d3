"""Metrics of the embedding cache. They stand at zero where it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from munjang_server.vector_cache import VectorCache


class CacheMetrics:
    """Counts what the cache spared and what it did not, and shows how full it is.

    Args:
        registry: where the metrics are registered.
        cache: whose bytes and entries are read whenever the page is.
    """

    def __init__(self, registry: CollectorRegistry, cache: VectorCache) -> None:
        prefix = "munjang_server_embedding_cache"
        self._hits = Counter(f"{prefix}_hits", "Texts answered without a forward of their own.", registry=registry)
        self._misses = Counter(f"{prefix}_misses", "Texts that the cache did not know.", registry=registry)
        self._evictions = Counter(f"{prefix}_evictions", "Vectors that had to leave for others.", registry=registry)
        Gauge(f"{prefix}_bytes", "Bytes of its entries.", registry=registry).set_function(lambda: cache.bytes)
        Gauge(f"{prefix}_entries", "Vectors that it holds.", registry=registry).set_function(lambda: len(cache))

    def answered(self, *, hits: int, misses: int, evictions: int) -> None:
        """Texts of one request were answered, and others had to leave for them."""
        self._hits.inc(hits)
        self._misses.inc(misses)
        self._evictions.inc(evictions)
