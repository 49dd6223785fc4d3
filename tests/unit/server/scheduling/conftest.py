"""A scheduler on fake encoders, and an observer that writes everything down."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import pytest

from munjang.errors import VersionNotFound
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling import Lane, Observer, Scheduler, Work


class FakeLease:
    """A lease that knows how many of its kind are held."""

    def __init__(self, encoder: FakeEncoder, version: int, held: Counter) -> None:
        self.encoder, self.version = encoder, version
        self._held, self._released = held, False
        held[version] += 1

    def share(self) -> FakeLease:
        if self._released:
            msg = "a released lease cannot be shared"
            raise RuntimeError(msg)
        return FakeLease(self.encoder, self.version, self._held)

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._held[self.version] -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


@dataclass
class FakeEngine:
    """Leases on fake encoders by version number; `main` is what "" names, None for nothing."""

    encoders: dict[int, FakeEncoder] = field(default_factory=lambda: {1: FakeEncoder(), 2: FakeEncoder(seed=2)})
    main: int | None = None
    held: Counter = field(default_factory=Counter)

    def acquire(self, name: str) -> FakeLease:
        version = int(name) if name else self.main
        if version not in self.encoders:
            msg = f"no version {name!r}"
            raise VersionNotFound(msg)
        return FakeLease(self.encoders[version], version, self.held)


class Recorder(Observer):
    """Keeps every event, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[tuple] = []
        self._changed = threading.Condition()

    def _note(self, *event: object) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def batch(self, seen):
        self._note("batch", seen)

    def forward(self, version, lane, seconds, ok):
        self._note("forward" if ok else "forward failed", version)

    def refused(self, reason, lane, texts):
        self._note("refused", reason, texts)

    def dropped(self, reason, lane, texts):
        self._note("dropped", reason, texts)

    def abandoned(self, version, tokens):
        self._note("abandoned", tokens)

    def split(self, version):
        self._note("split")

    def failed(self, version, texts):
        self._note("failed", texts)

    def out_of_memory(self, version, budget):
        self._note("out_of_memory", budget)

    def probe(self, version, seconds, ok):
        self._note("probe good" if ok else "probe bad", version)

    def restarted(self):
        self._note("restarted")

    def health(self, healthy):
        self._note("healthy" if healthy else "unhealthy")

    def named(self, name: str) -> list[tuple]:
        return [event[1:] for event in self.events if event[0] == name]

    def batches(self) -> list:
        return [seen for (seen,) in self.named("batch")]

    async def until(self, name: str, *arguments: object, count: int = 1) -> None:
        """Return when the event has happened so many times."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(
                    lambda: sum(event == (name, *arguments) for event in self.events) >= count, timeout=20
                )

        assert await asyncio.to_thread(wait), (name, arguments, self.events)


@dataclass
class Rig:
    """A started scheduler with what it works on."""

    scheduler: Scheduler
    engine: FakeEngine
    recorder: Recorder
    health: list[tuple[bool, str]]

    @property
    def encoder(self) -> FakeEncoder:
        return self.engine.encoders[1]

    def work(self, texts, version=1, **options) -> Work:
        tokens = self.engine.encoders[version].tokenize(texts)
        return Work(FakeLease(self.engine.encoders[version], version, Counter()), tokens, **options)

    def encode(self, texts, version=1, **options) -> asyncio.Task:
        """Call the scheduler as a servicer does: with a lease that is held until it returns."""

        async def call():
            with self.engine.acquire(str(version)) as lease:
                return await self.scheduler.encode(Work(lease, lease.encoder.tokenize(texts), **options))

        return asyncio.ensure_future(call())

    async def occupy(self) -> asyncio.Task:
        """Let the engine be busy with one text until the gate is opened."""
        self.encoder.gate.clear()
        task = self.encode(["바쁨"])
        await self.eventually(lambda: self.scheduler.load.running_tokens > 0)
        return task

    async def eventually(self, true) -> None:
        """Return when something that another thread or task brings about is true."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0)


@pytest.fixture
def rig():
    """Makes started schedulers; takes settings, and is a context manager."""

    @asynccontextmanager
    async def make(engine: FakeEngine | None = None, observer: Observer | None = None, **settings):
        engine, recorder = engine or FakeEngine(), Recorder()
        health: list[tuple[bool, str]] = []
        scheduler = Scheduler(
            BatchSettings(**settings), engine.acquire, observer or recorder, lambda ok, why: health.append((ok, why))
        )
        scheduler.start()
        try:
            yield Rig(scheduler, engine, recorder, health)
        finally:
            for encoder in engine.encoders.values():
                encoder.gate.set()
            scheduler.close()
            assert scheduler._runners.join(10)
        await asyncio.sleep(0)
        assert not +engine.held, "leases were kept"

    return make


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def bulk():
    return Lane.BULK
