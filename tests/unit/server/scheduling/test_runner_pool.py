"""Equal runners: batches beside each other, where forwards of the model can share the processor."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from dataclasses import dataclass, field

import pytest

from munjang.errors import EngineUnavailable, InternalError
from munjang.testing import POISON, FakeEncoder
from munjang_server.scheduling import fair_queue, request_queue
from munjang_server.scheduling.batch_executor import BatchExecutor
from munjang_server.scheduling.request_queue import Lanes
from munjang_server.scheduling.runner_pool import RunnerPool


@dataclass
class Shared(FakeEncoder):
    """Every forward waits until it is let go; says which run, and how."""

    streams: int = 2
    running: deque[tuple[int, bool]] = field(default_factory=deque)
    held: set[bool] = field(default_factory=lambda: {False, True})
    changed: threading.Condition = field(default_factory=threading.Condition)
    passes: int = 0

    def forward(self, batch, *, share=False, cancellation=None):
        seen = (len(batch), share)
        self.running.append(seen)
        with self.changed:
            self.changed.wait_for(lambda: share not in self.held or self.passes > 0)
            self.passes -= share in self.held
        self.running.remove(seen)
        return super().forward(batch)

    def let_one_go(self):
        with self.changed:
            self.passes += 1
            self.changed.notify()

    def release(self, kinds=(False, True)):
        """Hold no more forwards of these kinds: that run beside others (True) or have the processor alone (False)."""
        with self.changed:
            self.held -= set(kinds)
            self.changed.notify_all()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Four tokens are worth a forward beside others."""
    monkeypatch.setattr(request_queue, "ENOUGH", 4)
    monkeypatch.setattr(fair_queue, "ENOUGH", 4)


@pytest.fixture
async def shared(rig, engine):
    """A batcher whose encoder holds every forward; made with more options of it."""
    encoder = engine.encoders[1] = Shared()
    async with rig(engine, probe_seconds=60) as r:
        yield r
        encoder.release()


async def runs(r, *expected):
    await r.eventually(lambda: list(r.encoder.running) == list(expected))


async def test_a_lone_call_has_the_whole_processor_and_one_that_comes_meanwhile_a_share(shared):
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    second = shared.encode(["둘", "셋"])
    await runs(shared, (1, False), (2, True))
    shared.encoder.release()

    assert not (await first).errors
    assert not (await second).errors


async def test_no_more_run_at_a_time_than_there_are_streams_and_the_rest_waits_as_one_batch(shared):
    calls = [shared.encode(["하나"])]
    await runs(shared, (1, False))
    calls.append(shared.encode(["둘둘"]))
    await runs(shared, (1, False), (1, True))
    calls += [shared.encode(["나머지"]) for _ in range(5)]
    await shared.eventually(lambda: shared.scheduler.load.queued_texts["interactive"] == 5)
    assert list(shared.encoder.running) == [(1, False), (1, True)]

    shared.encoder.let_one_go()
    await shared.eventually(lambda: (5, True) in shared.encoder.running)
    shared.encoder.release()
    await asyncio.gather(*calls)


async def test_what_is_enough_for_all_is_shared_out_in_equal_parts(rig, engine):
    encoder = engine.encoders[1] = Shared(streams=4)
    async with rig(engine, probe_seconds=60) as r:
        call = r.encode(["여덟 자인 글임"] * 16)
        await runs(r, *[(4, True)] * 4)
        encoder.release()
        assert (await call).rows.shape == (16, 8)


async def test_shares_together_are_no_more_than_the_budget(rig, engine):
    encoder = engine.encoders[1] = Shared(streams=4)
    async with rig(engine, probe_seconds=60, batch_tokens=40) as r:
        call = r.encode(["여덟 자인 글임"] * 16)  # of ten tokens each
        await runs(r, *[(1, True)] * 4)
        encoder.release()
        assert (await call).rows.shape == (16, 8)


async def test_few_tokens_wait_for_a_forward_that_has_all_threads(shared):
    calls = [shared.encode(["하나"])]
    await runs(shared, (1, False))
    calls.append(shared.encode(["둘"]))
    await shared.eventually(lambda: shared.scheduler.load.queued_texts["interactive"] == 1)
    assert list(shared.encoder.running) == [(1, False)]
    shared.encoder.let_one_go()
    await runs(shared, (1, False))
    shared.encoder.release()
    await asyncio.gather(*calls)


async def test_one_at_a_time_runs_of_a_model_that_cannot_share(rig, engine):
    encoder = engine.encoders[1] = Shared(streams=1)
    async with rig(engine, probe_seconds=60) as r:
        calls = [r.encode(["하나"])]
        await runs(r, (1, False))
        calls += [r.encode(["둘"]), r.encode(["셋"])]
        await r.eventually(lambda: r.scheduler.load.queued_texts["interactive"] == 2)
        assert list(encoder.running) == [(1, False)]
        encoder.let_one_go()
        await runs(r, (2, False))
        encoder.release()
        await asyncio.gather(*calls)


async def test_a_short_bulk_batch_without_calls_about_has_all_threads_and_calls_wait_for_its_end(shared, bulk):
    long = shared.encode(["긴 글"] * 3, lane=bulk)
    await runs(shared, (3, False))
    short = shared.encode(["짧은 글"])
    await shared.eventually(lambda: shared.scheduler.load.queued_texts["interactive"] == 1)
    assert list(shared.encoder.running) == [(3, False)]
    shared.encoder.release()

    assert not (await long).errors
    assert not (await short).errors


async def test_a_call_runs_at_once_beside_a_long_text_that_has_all_threads(shared, bulk):
    shared.scheduler._latencies.record(1, 100, 10_000, 10.0)
    long = shared.encode(["아주 긴 글"], lane=bulk)
    await runs(shared, (1, False))
    short = shared.encode(["짧"])
    await runs(shared, (1, False), (1, True))
    shared.encoder.release([True])

    assert not (await short).errors
    assert not long.done()
    shared.encoder.release()
    assert not (await long).errors


async def test_while_calls_are_about_bulk_runs_on_a_stream_and_leaves_one_free(shared, bulk):
    shared.encoder.release()
    await shared.encode(["부름"])
    shared.encoder.held = {True, False}
    long = [shared.encode(["긴 글"] * 3, lane=bulk), shared.encode(["다른 긴 글"] * 500, lane=bulk)]
    await shared.eventually(lambda: [share for _, share in shared.encoder.running] == [True])
    assert shared.scheduler.load.queued_texts["bulk"] > 0
    short = shared.encode(["짧"])
    await shared.eventually(lambda: (1, True) in shared.encoder.running)
    assert len(shared.encoder.running) == 2
    shared.encoder.release()

    assert not (await short).errors
    await asyncio.gather(*long)


async def test_bulk_waits_for_a_free_stream_while_calls_run_beside_each_other(shared, bulk):
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    long = shared.encode(["긴 글"] * 3, lane=bulk)
    second = shared.encode(["둘둘"])
    await runs(shared, (1, False), (1, True))
    assert shared.scheduler.load.queued_texts["bulk"] == 3
    shared.encoder.release()

    assert not (await long).errors
    await asyncio.gather(first, second)


async def test_a_poisoned_text_beside_others_is_blamed_alone(shared):
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    poisoned = shared.encode(["좋은 글", f"{POISON} 든 글"])
    await runs(shared, (1, False), (2, True))
    shared.encoder.release()

    assert not (await first).errors
    assert list((await poisoned).errors) == [1]


async def test_a_defect_beside_others_hits_its_own_calls_and_leaves_room_for_the_next(shared, monkeypatch):
    run = BatchExecutor.run_batch
    monkeypatch.setattr(BatchExecutor, "run_batch", lambda self, batch: 1 / 0 if batch.share > 1 else run(self, batch))
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    with pytest.raises(InternalError):
        await shared.encode(["둘둘"])
    monkeypatch.setattr(BatchExecutor, "run_batch", run)
    third = shared.encode(["셋셋"])
    await runs(shared, (1, False), (1, True))
    shared.encoder.release()
    await asyncio.gather(first, third)


async def test_a_defect_where_a_second_runner_forms_its_batch_ends_what_waits_and_it_goes_on(shared, monkeypatch):
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    with monkeypatch.context() as patch:
        patch.setattr(Lanes, "take", lambda *_: 1 / 0)
        for call in (first, shared.encode(["둘둘"])):  # all that came through the queue that is broken
            with pytest.raises(InternalError):
                await call
    third = shared.encode(["셋셋"])
    await runs(shared, (1, False), (1, True))
    shared.encoder.release()
    await third


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_second_runner_that_dies_is_started_again(rig, engine, monkeypatch):
    encoder = engine.encoders[1] = Shared()
    async with rig(engine, stall_seconds=20, probe_seconds=0.2) as r:
        first = r.encode(["하나"])
        await runs(r, (1, False))
        with monkeypatch.context() as patch:
            patch.setattr(BatchExecutor, "run_batch", lambda *_: 1 / 0)
            patch.setattr(RunnerPool, "_recover", lambda *_: sys.exit(1))
            dying = r.encode(["둘둘"])
            await r.eventually(lambda: not r.scheduler._runners.alive)
        with pytest.raises(InternalError):
            await dying
        third = r.encode(["셋셋"])
        await runs(r, (1, False), (1, True))
        encoder.release()
        await asyncio.gather(first, third)


async def test_a_forward_that_is_stuck_beside_others_turns_health_until_it_comes_back(rig, engine):
    """The other runner still runs probes, and they succeed: that says nothing of the forward that is stuck."""
    encoder = engine.encoders[1] = Shared(held=set())
    engine.main = 1
    async with rig(engine, stall_seconds=0.2, probe_seconds=60) as r:
        await r.recorder.until("probe good", 1)
        await r.eventually(lambda: not r.scheduler._watchdog._probing)
        encoder.held = {False, True}
        first = r.encode(["하나"])
        await runs(r, (1, False))
        second = r.encode(["둘", "셋"])
        await runs(r, (1, False), (2, True))
        for call in (first, second):
            with pytest.raises(EngineUnavailable):
                await call
        await r.eventually(lambda: len(r.scheduler._watchdog._stuck) == 2)  # the second may be seen a look later
        encoder.release([False])
        await r.recorder.until("probe good", 1, count=2)
        await r.eventually(lambda: not r.scheduler._watchdog._probing)
        assert not r.scheduler.healthy

        encoder.release()
        await r.recorder.until("healthy")
        assert r.scheduler.healthy


async def test_a_share_counts_as_what_all_shares_do_meanwhile(shared):
    first = shared.encode(["하나"])
    await runs(shared, (1, False))
    learned = []
    record = shared.scheduler._latencies.record
    shared.scheduler._latencies.record = lambda *sample: learned.append(sample[:2]) or record(*sample)
    second = shared.encode(["여덟 자인 글임"])
    await runs(shared, (1, False), (1, True))
    shared.encoder.release()
    await asyncio.gather(first, second)
    await shared.eventually(lambda: len(learned) == 2)

    assert sorted(learned) == [(1, 4), (1, 20)]
