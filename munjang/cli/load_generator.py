"""A load on a server: which texts are sent, and calls in a closed loop (a number of callers) or an open one (a rate).

In an open loop the latency of a call counts from its intended start. So a slow server, or a slow generator, is charged
for all calls that would have waited (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError, MunjangError
from munjang.korean import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from munjang.client import AsyncClient

MOST_IN_FLIGHT = 20_000
"""The most calls that an open loop runs at once; later ones begin late, which counts as latency."""


POOL = 2000
"""How many built-in texts are made."""

LONG_CHARS = 1500
"""About what fills a model of 512 tokens with Korean."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call. Times are seconds since the beginning of the run.

    Attributes:
        intended: when it should have started.
        begun: when it started.
        ended: when its answer arrived.
        reason: why it failed; empty if it did not.
        version: that answered; 0 if none did.
        tokens: that the model read.
    """

    intended: float
    begun: float
    ended: float
    reason: str = ""
    version: int = 0
    tokens: int = 0


@dataclass
class Load:
    """One run's worth of calls.

    Attributes:
        client: sends them; its retries should be off, so that each failure counts.
        batches: the texts of each call.
        options: of each call.
        seconds: how long new calls are made.
        advance: takes the seconds that have passed since it was last called.
        samples: the result of each call.
    """

    client: AsyncClient
    batches: Iterator[list[str]]
    options: dict[str, Any]
    seconds: float
    advance: Callable[[float], None]
    samples: list[Sample] = field(default_factory=list)

    async def closed(self, concurrency: int) -> None:
        """`concurrency` callers, each of which calls again as soon as it is answered."""
        begun = self._begin()

        async def caller() -> None:
            while (now := time.monotonic() - begun) < self.seconds:
                await self._call(begun, now)

        await self._with_clock(asyncio.gather(*(caller() for _ in range(concurrency))))

    async def open(self, rate: float, seed: int) -> None:
        """`rate` calls a second on average at random moments (a Poisson process), however slow the answers are."""
        begun = self._begin()
        chance = random.Random(seed)  # noqa: S311 - the same moments for the same seed
        room = asyncio.Semaphore(MOST_IN_FLIGHT)
        calls: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            calls.discard(task)
            room.release()

        async def send() -> None:
            intended = chance.expovariate(rate)
            while intended < self.seconds:
                await asyncio.sleep(max(0.0, begun + intended - time.monotonic()))
                await room.acquire()
                task = asyncio.create_task(self._call(begun, intended))
                calls.add(task)
                task.add_done_callback(ended)
                intended += chance.expovariate(rate)
            await asyncio.gather(*calls)

        await self._with_clock(send())

    async def _call(self, begun: float, intended: float) -> None:
        started = time.monotonic() - begun
        texts = next(self.batches)
        try:
            found = await self.client.encode(texts, **self.options)
        except MunjangError as error:
            self.samples.append(Sample(intended, started, time.monotonic() - begun, error.reason))
            return
        tokens = int(found.token_counts.sum())
        self.samples.append(Sample(intended, started, time.monotonic() - begun, "", found.version, tokens))

    def _begin(self) -> float:
        self.samples.clear()
        return time.monotonic()

    async def _with_clock(self, work: Any) -> None:
        clock = asyncio.create_task(self._tick())
        try:
            await work
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            self.advance(now - last)
            last = now


def built_in(long_share: float, seed: int) -> list[str]:
    """Korean texts of mixed lengths: sentences, and a share of texts as long as models read.

    Raises:
        ConfigurationError: the share is not between 0 and 1.
    """
    if not 0 <= long_share <= 1:
        msg = f"the share of long texts is {long_share:g}; it must be between 0 and 1"
        raise ConfigurationError(msg, field="long_share")
    chance = random.Random(seed)  # noqa: S311 - the same texts for the same seed
    longs = round(POOL * long_share)
    texts = [chance.choice(SENTENCES) for _ in range(POOL - longs)] + [_long(chance) for _ in range(longs)]
    chance.shuffle(texts)
    return texts


def batches(texts: Sequence[str], size: int, seed: int) -> Iterator[list[str]]:
    """Batches of `size` texts in a shuffled order, repeated endlessly."""
    order = list(texts)
    random.Random(seed).shuffle(order)  # noqa: S311 - the same order for the same seed
    endless = itertools.cycle(order)
    while True:
        yield list(itertools.islice(endless, size))


def _long(chance: random.Random) -> str:
    text = chance.choice(SENTENCES)
    while len(text) < LONG_CHARS:
        text += " " + chance.choice(SENTENCES)
    return text
