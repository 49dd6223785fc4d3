"""An open loop of calls on one server while its alias moves: when each swap began and ended, memory, every reply."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

from munjang.cli.load_generator import Load, batches
from munjang.cli.load_report import summarise
from tests.bench.serving.callers import Keeping

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.cli.load_generator import Sample
    from munjang.client import AsyncClient
    from tests.bench.serving.samples import Window
    from tests.bench.serving.serving import Serving

AFTER_SECONDS = 0.5
"""So long after the first reply of the new version belongs to a swap."""

BETWEEN_SECONDS = 0.7
LONGEST = 600.0
CALLERS, WARMUP, SECONDS = 16, 1.0, 3.0


async def capacity(caller: AsyncClient, some: list[str]) -> float:
    """Calls of one text a second that are answered at most."""
    load = Load(caller, batches(some, 1, seed=0), {}, WARMUP + SECONDS, lambda _: None)
    await load.closed(CALLERS)
    run, _ = summarise(load.samples, mode="closed", load=CALLERS, batch=1, warmup=WARMUP, seconds=SECONDS)
    return run.calls_per_second


class Swapper:
    """The load; use it in an `async with` statement, which ends when every call has.

    Attributes:
        windows: seconds of the run in which swaps of a kind were under way, and a little more.
        seconds: by kind, from the change in the registry to the first reply of the new version.
        memory: bytes of the server after so many swaps.
    """

    def __init__(self, server: Serving, caller: AsyncClient, some: list[str], rate: float) -> None:
        self._server = server
        self._keeping = Keeping(caller)
        self._rate = rate
        self._load = Load(self._keeping, batches(some, 1, seed=0), {}, LONGEST, lambda _: None)  # type: ignore[arg-type]  # as `Load` calls it
        self._begun = time.monotonic()
        self.windows: dict[str, list[Window]] = {}
        self.seconds: dict[str, list[float]] = {}
        self.memory: dict[int, dict[str, int]] = {}

    async def __aenter__(self) -> Self:
        self._begun = time.monotonic()
        self._calls = asyncio.create_task(self._load.open(self._rate, seed=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._load.seconds = 0.0  # no new calls
        await self._calls

    @property
    def samples(self) -> list[Sample]:
        """What became of each call."""
        return self._load.samples

    def mixed(self, own: Any) -> int:
        """See `Keeping.mixed`."""
        return self._keeping.mixed(own)

    async def swap(self, kind: str, version: int, move: Callable[[], object]) -> None:
        """Move the alias to a version, and wait until that has answered for a while.

        Raises:
            TimeoutError: it does not answer.
        """
        begun = time.monotonic()
        await asyncio.to_thread(move)
        answered = await self._keeping.answers_with(version, LONGEST)
        self.windows.setdefault(kind, []).append((begun - self._begun, answered + AFTER_SECONDS - self._begun))
        self.seconds.setdefault(kind, []).append(answered - begun)
        await asyncio.sleep(AFTER_SECONDS + BETWEEN_SECONDS)

    async def weigh(self, number: int) -> None:
        """Note the memory after so many swaps."""
        self.memory[number] = await asyncio.to_thread(self._server.memory)
