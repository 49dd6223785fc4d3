"""Clients in the form that `Load` calls, each with a habit: one keeps what it was answered, one gives calls up."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from munjang.errors import MunjangError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from munjang.client import AsyncClient
    from munjang.client.results import Embeddings, Ranking

SAME = 0.9999
"""The least cosine of vectors that one version gives of one text."""


class GivenUp(MunjangError):
    """The caller went before it was answered."""

    reason = "GIVEN_UP"


class Keeping:
    """Keeps every vector with its text and the version that the reply named, to be held against the versions' own.

    Attributes:
        kept: of each reply, its text, version and vector float32 [d]; calls are of one text.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._seen: dict[int, asyncio.Event] = {}
        self.kept: list[tuple[str, int, NDArray[np.float32]]] = []

    async def encode(self, texts: list[str], **options: Any) -> Embeddings:
        """Ask, and keep the answer."""
        found = await self._client.encode(texts, **options)
        self.kept.append((texts[0], found.version, found.vectors[0]))
        if found.version in self._seen:
            self._seen[found.version].set()
        return found

    async def answers_with(self, version: int, seconds: float) -> float:
        """Wait for the next reply of a version; the `time.monotonic()` at which it came.

        Raises:
            TimeoutError: none came in time.
        """
        event = self._seen[version] = asyncio.Event()
        async with asyncio.timeout(seconds):
            await event.wait()
        return time.monotonic()

    def mixed(self, own: Mapping[int, Mapping[str, NDArray[np.float32]]]) -> int:
        """How many replies are not the vector of the version that they name; `own`: its vectors by version and text."""
        return sum(float(vector @ own[version][text]) < SAME for text, version, vector in self.kept)


class Reranking:
    """Reranks: the first text of each call is the query, the others are the documents."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def encode(self, texts: list[str], **options: Any) -> Ranking:
        """Ask."""
        return await self._client.rerank(texts[0], texts[1:], **options)


class Leaving:
    """Gives up a share of its calls at random moments within so many seconds."""

    def __init__(self, client: AsyncClient, share: float, seconds: float) -> None:
        self._client = client
        self._share = share
        self._seconds = seconds
        self._chance = random.Random(9)  # noqa: S311 - the same moments each time

    async def encode(self, texts: list[str], **options: Any) -> Embeddings:
        """Ask, and perhaps go.

        Raises:
            GivenUp: it went.
        """
        leaves = self._chance.random() < self._share
        try:
            async with asyncio.timeout(self._chance.uniform(0, self._seconds) if leaves else None):
                return await self._client.encode(texts, **options)
        except TimeoutError:
            raise GivenUp("the caller went") from None
