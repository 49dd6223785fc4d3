"""Interactive calls while a long bulk forward pauses: they pass, and what happens to them is theirs alone."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from munjang.errors import InternalError
from munjang.testing import POISON, FakeEncoder
from munjang_server.batching.trial import Trial


@dataclass
class Slow(FakeEncoder):
    """Pauses once in a forward of several texts, when it is let."""

    parts: int = 2
    begun: threading.Event = field(default_factory=threading.Event)
    may_pause: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)

    def forward(self, batch, pause=None):
        if pause is not None:
            self.begun.set()
            self.may_pause.wait()
            pause()
            self.may_end.wait()
        return super().forward(batch)


@pytest.fixture
async def paused(rig, engine, bulk):
    """A bulk forward that has begun and is about to pause, and what waits for that."""
    encoder = engine.encoders[1] = Slow()
    async with rig(engine, probe_seconds=60) as r:
        long = r.encode(["긴 글"] * 4, lane=bulk)
        assert await asyncio.to_thread(encoder.begun.wait, 20)
        yield r, long
        encoder.may_pause.set()
        encoder.may_end.set()
        await long


async def waits(rig, *calls):
    await rig.eventually(lambda: rig.batcher.load.queued_texts["interactive"] == len(calls))
    rig.encoder.may_pause.set()
    return calls


async def test_a_call_that_came_during_a_bulk_forward_is_answered_before_its_end(paused):
    r, long = paused
    [short] = await waits(r, r.encode(["짧은 글"]))

    assert (await short).rows.shape == (1, 8)
    assert not long.done()


async def test_calls_of_several_versions_pass(paused):
    r, _ = paused
    one, two = await waits(r, r.encode(["하나"]), r.encode(["둘"], version=2))

    assert not (await one).errors
    assert not (await two).errors


async def test_other_bulk_work_waits_for_its_turn(paused, bulk):
    r, _ = paused
    more = r.encode(["다음 글"] * 2, lane=bulk)
    [short] = await waits(r, r.encode(["짧은 글"]))
    await short

    assert r.batcher.load.queued_texts["bulk"] == 2
    r.encoder.may_end.set()
    assert not (await more).errors


async def test_the_time_of_those_that_passed_is_not_the_forwards_own(paused, monkeypatch):
    r, long = paused
    clock = [0.0]
    monkeypatch.setattr("munjang_server.batching.forward.time.monotonic", lambda: clock[0])
    forward = r.encoder.forward

    def an_hour(batch, pause=None):
        clock[0] += 3600
        return forward(batch, pause)

    r.encoder.forward = an_hour
    [short] = await waits(r, r.encode(["짧은 글"]))

    assert (await short).forward_seconds == 3600
    r.encoder.may_end.set()
    monkeypatch.undo()
    assert (await long).forward_seconds < 3600


async def test_a_poisoned_call_that_passes_is_blamed_alone(paused):
    r, long = paused
    poisoned, good = await waits(r, r.encode([f"{POISON} 든 글"]), r.encode(["좋은 글"]))
    r.encoder.may_end.set()

    assert list((await poisoned).errors) == [0]
    assert not (await good).errors
    assert not (await long).errors


async def test_a_defect_hits_the_call_that_passes_and_not_the_forward_that_pauses(paused, monkeypatch):
    r, long = paused
    run = Trial.run_batch
    monkeypatch.setattr(
        Trial, "run_batch", lambda self, batch, pause=None: run(self, batch, pause) if batch.texts > 1 else 1 / 0
    )
    [short] = await waits(r, r.encode(["짧은 글"]))

    with pytest.raises(InternalError):
        await short
    r.encoder.may_end.set()
    assert not (await long).errors
    assert r.recorder.named("restarted")


async def test_while_it_pauses_calls_wait_no_longer_than_for_a_part(rig, engine, bulk):
    """Admission reckons with a part of the bulk forward, so that calls with a short deadline are let in."""
    encoder = engine.encoders[1] = Slow(parts=4)
    async with rig(engine, probe_seconds=60) as r:
        r.batcher._speed.record(1, 20, 4.0)
        long = r.encode(["긴 글"] * 4, lane=bulk)
        assert await asyncio.to_thread(encoder.begun.wait, 20)
        interactive, other = (r.batcher._forward.busy_seconds(lane) for lane in (type(bulk).INTERACTIVE, bulk))
        encoder.may_pause.set()
        encoder.may_end.set()
        await long

    assert 0 < interactive <= other / 3
