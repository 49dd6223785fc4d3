"""The embedding cache: raw vectors of texts that were encoded before, between the services and the scheduler.

The key of a text is its version and a hash of the tokens that the model reads: after prompt, normalisation and
truncation. Every check of a request happens before, the same with and without the cache. Dimensions, precisions and
normalised vectors are made afterwards, from the cached raw vector.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache
from prometheus_client import Counter, Gauge

from munjang_server.scheduling.api import Encoded, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from prometheus_client import CollectorRegistry

    from munjang.encoder.contract import Tokens
    from munjang.errors import MunjangError
    from munjang_server.scheduling.api import Encodes

KEY_BYTES = 16
"""Two texts share a key by chance once in 2^128 pairs, and never on purpose: the hash is keyed with a secret."""

ENTRY_BYTES = 640
"""The bytes of an entry besides its components: array, key and tables."""


class VectorCache:
    """Vectors float32 [D] by version and key, least recently used out first. Methods may be called from any thread.

    Args:
        max_bytes: the most bytes of all entries together, `ENTRY_BYTES` for each included.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._rows: LRUCache[tuple[int, bytes], NDArray[np.float32]] = LRUCache(max_bytes, getsizeof=_size)

    def get(self, version: int, key: bytes) -> NDArray[np.float32] | None:
        """The vector, not to be written to, or None; it counts as used now."""
        with self._lock:
            return self._rows.get((version, key))

    def put(self, version: int, key: bytes, row: NDArray[np.float32]) -> int:
        """Store a copy of a vector float32 [D]; returns how many others were evicted for it.

        A vector that is larger than the whole cache is not stored.
        """
        if _size(row) > self._rows.maxsize:
            return 0
        with self._lock:
            size = len(self._rows) + ((version, key) not in self._rows)
            self._rows[version, key] = row.copy()
            return size - len(self._rows)

    def drop(self, version: int) -> None:
        """Drop all vectors of a version."""
        with self._lock:
            for key in [key for key in self._rows if key[0] == version]:
                del self._rows[key]

    @property
    def bytes(self) -> int:
        """Bytes of all entries."""
        return int(self._rows.currsize)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._rows)


def _size(row: NDArray[np.float32]) -> int:
    return row.nbytes + ENTRY_BYTES


class CacheMetrics:
    """Counts hits and misses of the cache, and shows how full it is. They stay at zero if it is off.

    Args:
        registry: where the metrics are registered.
        cache: whose bytes and entries are read at each scrape.
    """

    def __init__(self, registry: CollectorRegistry, cache: VectorCache) -> None:
        prefix = "munjang_server_embedding_cache"
        self._hits = Counter(f"{prefix}_hits", "Texts answered from the cache.", registry=registry)
        self._misses = Counter(f"{prefix}_misses", "Texts that were not in the cache.", registry=registry)
        self._evictions = Counter(f"{prefix}_evictions", "Vectors evicted for others.", registry=registry)
        Gauge(f"{prefix}_bytes", "Bytes of the cached vectors.", registry=registry).set_function(lambda: cache.bytes)
        Gauge(f"{prefix}_entries", "Vectors in the cache.", registry=registry).set_function(lambda: len(cache))

    def answered(self, *, hits: int, misses: int, evictions: int) -> None:
        """Count the texts of one request, and the vectors that were evicted for them."""
        self._hits.inc(hits)
        self._misses.inc(misses)
        self._evictions.inc(evictions)


class CachedEncoder:
    """Encodes like the scheduler, but each text only once while it is in the cache.

    The vectors of a version are dropped only after its last lease, and a call holds its lease until it has stored its
    vectors. So no vector is stored after that.

    Args:
        scheduler: encodes what is not cached.
        cache: the vectors of earlier calls.
        metrics: where hits and misses are counted.
    """

    def __init__(self, scheduler: Encodes, cache: VectorCache, metrics: CacheMetrics) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._metrics = metrics
        self._secret = secrets.token_bytes(KEY_BYTES)

    def check_hopeless(self, work: Work) -> None:
        """Refuse nothing: cached texts are answered however long the queue is, and only tokens tell which they are."""

    async def encode(self, work: Work) -> Encoded:
        """Encode all texts of one request; see `Encodes`."""
        version = work.lease.version
        keys = [self._key(tokens) for tokens in work.tokens]
        cached = {key: row for key in set(keys) if (row := self._cache.get(version, key)) is not None}
        missing = {key: tokens for key, tokens in zip(keys, work.tokens, strict=True) if key not in cached}
        hits = len(keys) - len(missing)
        if not missing:
            self._metrics.answered(hits=hits, misses=0, evictions=0)
            return Encoded(np.stack([cached[key] for key in keys]), {}, 0.0, 0.0, work.lane)
        encoded = await self._scheduler.encode(dataclasses.replace(work, tokens=list(missing.values())))
        failed: dict[bytes, MunjangError] = {}
        evictions = 0
        for index, key in enumerate(missing):
            cached[key] = encoded.rows[index]
            if index in encoded.errors:
                failed[key] = encoded.errors[index]
            else:
                evictions += self._cache.put(version, key, encoded.rows[index])
        self._metrics.answered(hits=hits, misses=len(missing), evictions=evictions)
        rows: NDArray[np.float32] = np.stack([cached[key] for key in keys])
        errors = {index: failed[key] for index, key in enumerate(keys) if key in failed}
        return Encoded(rows, errors, encoded.queue_seconds, encoded.forward_seconds, encoded.lane)

    def _key(self, tokens: Tokens) -> bytes:
        """A keyed hash of all that a forward can read of a text; lengths first, so that different texts differ."""
        lengths = (len(tokens.ids), len(tokens.type_ids), len(tokens.text), len(tokens.prompt), tokens.prompt_tokens)
        numbers = array("q", (*lengths, *tokens.ids, *tokens.type_ids))
        digest = blake2b(numbers, digest_size=KEY_BYTES, key=self._secret)
        digest.update((tokens.text + tokens.prompt + (tokens.role or "")).encode())
        return digest.digest()
