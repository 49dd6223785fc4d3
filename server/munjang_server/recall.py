"""Answers texts from the cache and lets the batcher encode the others: what stands between servicers and batcher.

A text is known by its version and a hash of what the model reads of it: its tokens, after prompt, normalisation and
cut. So every check of a request is made before, the same with the cache and without; lengths, precisions and
normalised vectors are made after, of the raw vector that is kept.
"""

from __future__ import annotations

import dataclasses
import secrets
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from munjang_server.batching.contract import Encoded, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from munjang.encoder.contract import Tokens
    from munjang.errors import MunjangError
    from munjang_server.batching.contract import Encodes
    from munjang_server.metrics.cache import CacheMetrics
    from munjang_server.vector_cache import VectorCache

KEY_BYTES = 16
"""Two texts share a key by chance once in 2^128 pairs, and by intent not at all: the hash has a secret of its own."""


class Recall:
    """Encodes like the batcher, but each text only once while the cache remembers it.

    A version is forgotten only after its last lease, and a call holds its lease until it has put its vectors: none
    comes in late.

    Args:
        encodes: who encodes what is not known.
        cache: the vectors of earlier calls.
        metrics: where hits and misses are counted.
    """

    def __init__(self, encodes: Encodes, cache: VectorCache, metrics: CacheMetrics) -> None:
        self._encodes = encodes
        self._cache = cache
        self._metrics = metrics
        self._secret = secrets.token_bytes(KEY_BYTES)

    def foresee(self, work: Work) -> bool:  # noqa: ARG002 - as `Encodes` has it
        """Refuses nothing: what is known is answered however much waits, and that its tokens tell."""
        return False

    async def encode(self, work: Work) -> Encoded:
        """Encode all texts of one request; see `Encodes.encode`."""
        version = work.lease.version
        keys = [self._key(tokens) for tokens in work.tokens]
        known = {key: row for key in set(keys) if (row := self._cache.get(version, key)) is not None}
        missing = {key: tokens for key, tokens in zip(keys, work.tokens, strict=True) if key not in known}
        hits = len(keys) - len(missing)
        if not missing:
            self._metrics.answered(hits=hits, misses=0, evictions=0)
            return Encoded(np.stack([known[key] for key in keys]), {}, 0.0, 0.0)
        encoded = await self._encodes.encode(dataclasses.replace(work, tokens=list(missing.values())))
        failed: dict[bytes, MunjangError] = {}
        evictions = 0
        for index, key in enumerate(missing):
            known[key] = encoded.rows[index]
            if index in encoded.errors:
                failed[key] = encoded.errors[index]
            else:
                evictions += self._cache.put(version, key, encoded.rows[index])
        self._metrics.answered(hits=hits, misses=len(missing), evictions=evictions)
        rows: NDArray[np.float32] = np.stack([known[key] for key in keys])
        errors = {index: failed[key] for index, key in enumerate(keys) if key in failed}
        return Encoded(rows, errors, encoded.queue_seconds, encoded.forward_seconds)

    def _key(self, tokens: Tokens) -> bytes:
        """A keyed hash of all that a forward may read of a text; lengths first, so that no two run together."""
        lengths = (len(tokens.ids), len(tokens.type_ids), len(tokens.text), tokens.prompt_tokens)
        numbers = array("q", (*lengths, *tokens.ids, *tokens.type_ids))
        digest = blake2b(numbers, digest_size=KEY_BYTES, key=self._secret)
        digest.update((tokens.text + tokens.prompt).encode())
        return digest.digest()
