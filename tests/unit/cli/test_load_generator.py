import asyncio

import numpy as np
import pytest

from munjang.cli import load_generator
from munjang.cli.load_generator import Load
from munjang.client import Embeddings
from munjang.errors import Overloaded


class FakeClient:
    """Answers when its gate is open; every third call is refused where `refusing`."""

    def __init__(self, *, refusing=False):
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusing = refusing
        self.calls = 0
        self.waiting = 0
        self.most_waiting = 0
        self.open_at = 0

    async def encode(self, texts, **options):
        self.calls += 1
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if self.waiting == self.open_at:
            self.gate.set()
        await asyncio.sleep(0)
        await self.gate.wait()
        self.waiting -= 1
        if self.refusing and self.calls % 3 == 0:
            msg = "나중에"
            raise Overloaded(msg)
        count = len(texts)
        return Embeddings(np.zeros((count, 2)), 7, 2, np.full(count, 5, np.uint32))


def load(client, seconds=0.2):
    batches = iter(lambda: ["하나", "둘"], None)
    return Load(client, batches, {"prompt_name": ""}, seconds, lambda _seconds: None)


async def test_a_closed_loop_has_as_many_calls_under_way_as_callers():
    client = FakeClient()
    running = load(client)
    await running.closed(3)
    assert client.most_waiting == 3
    assert len(running.samples) == client.calls > 3
    assert all(sample.version == 7 and sample.tokens == 10 and not sample.reason for sample in running.samples)


async def test_failures_are_kept_by_reason():
    running = load(FakeClient(refusing=True))
    await running.closed(1)
    assert {sample.reason for sample in running.samples} == {"", "OVERLOADED"}


async def test_an_open_loop_calls_on_though_nobody_answers():
    client = FakeClient()
    client.gate.clear()
    running = load(client)

    client.open_at = 20
    await running.open(400, seed=1)
    assert client.most_waiting >= 20
    assert len(running.samples) == client.calls


async def test_an_open_loop_is_the_same_for_the_same_seed():
    moments = []
    for _ in range(2):
        running = load(FakeClient())
        await running.open(100, seed=5)
        moments.append(sorted(sample.intended for sample in running.samples))
    assert moments[0] == moments[1]


async def test_a_call_that_begins_late_is_charged_from_when_it_should_have_begun(monkeypatch):
    monkeypatch.setattr(load_generator, "MOST_IN_FLIGHT", 1)
    client = FakeClient()
    client.gate.clear()
    running = load(client)
    asyncio.get_running_loop().call_later(0.3, client.gate.set)
    await running.open(100, seed=2)
    second = sorted(running.samples, key=lambda sample: sample.intended)[1]
    assert second.intended < 0.2
    assert second.begun >= 0.29


async def test_a_mistake_of_our_own_ends_the_run():
    running = load(FakeClient())
    running.batches = iter([])
    with pytest.raises((RuntimeError, StopIteration)):
        await running.closed(1)
