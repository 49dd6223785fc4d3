"""The scheduler as servicers see it: answers, cancellation, deadlines, refusals, draining."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time

import numpy as np
import pytest

from munjang.encoder.contract import Tokens
from munjang.errors import (
    DeadlineExceeded,
    DeadlineUnreachable,
    EmptyText,
    EngineUnavailable,
    NoTexts,
    Overloaded,
    ShuttingDown,
)
from munjang.settings import BatchSettings
from munjang.testing import FakeEncoder
from munjang_server.scheduling import Lane, Scheduler, Work, api

SENTENCES = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다.", "고양이 🐈", "ㄱㄴㄷ", "A tail"]


def expected(encoder, texts):
    return np.concatenate([encoder.forward([tokens]) for tokens in encoder.tokenize(texts)])


async def test_every_text_gets_its_own_vector_in_the_order_of_the_request(rig):
    async with rig() as r:
        answer = await r.encode(SENTENCES * 40)

    assert answer.rows.dtype == np.float32
    np.testing.assert_array_equal(answer.rows, expected(r.encoder, SENTENCES * 40))
    assert not answer.errors
    assert answer.queue_seconds >= 0
    assert answer.forward_seconds > 0


async def test_an_idle_engine_starts_at_once_on_a_single_text(rig):
    async with rig() as r:
        await r.encode(["하나"])
        await r.encode(["둘"])

    assert [seen.texts for seen in r.recorder.batches()] == [1, 1]


async def test_texts_of_many_callers_that_wait_share_a_forward(rig):
    async with rig() as r:
        first = await r.occupy()
        calls = [r.encode([f"문장 {number:02}"], caller=str(number)) for number in range(30)]
        await asyncio.sleep(0)
        r.encoder.gate.set()
        answers = await asyncio.gather(*calls)
        await first

    assert [seen.texts for seen in r.recorder.batches()] == [1, 30]
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.rows, expected(r.encoder, [f"문장 {number:02}"]))


async def test_versions_are_answered_each_by_its_own_encoder(rig):
    async with rig() as r:
        await_first = await r.occupy()
        calls = [r.encode(["같은 문장"], version=version) for version in (1, 2, 1, 2)]
        await asyncio.sleep(0)
        r.encoder.gate.set()
        answers = await asyncio.gather(*calls)
        await await_first

    for version, answer in zip((1, 2, 1, 2), answers, strict=True):
        np.testing.assert_array_equal(answer.rows, expected(r.engine.encoders[version], ["같은 문장"]))
    assert sorted((seen.version, seen.texts) for seen in r.recorder.batches()[1:]) == [(1, 2), (2, 2)]


async def test_a_cancelled_call_leaves_the_queue_and_is_never_run(rig):
    async with rig() as r:
        first = await r.occupy()
        gone = r.encode(["간 사람"] * 3)
        stays = r.encode(["남은 사람입니다"])
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert r.scheduler.load.queued_texts == {Lane.INTERACTIVE: 1, Lane.BULK: 0}
        r.encoder.gate.set()
        await asyncio.gather(first, stays)

    assert r.recorder.named("dropped") == [("cancelled", 3)]
    assert sum(seen.texts for seen in r.recorder.batches()) == 2


async def test_work_for_a_caller_who_left_during_the_forward_is_counted(rig):
    async with rig() as r:
        first = await r.occupy()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        r.encoder.gate.set()
        await r.recorder.until("abandoned", 4)
        await r.encode(["다음"])

    assert r.recorder.named("dropped") == []


async def test_a_deadline_that_passes_in_the_queue_is_answered_in_time_and_never_run(rig):
    async with rig() as r:
        first = await r.occupy()
        with pytest.raises(DeadlineExceeded):
            await r.encode(["늦은 문장"], deadline=time.monotonic() + 0.05)
        r.encoder.gate.set()
        await first

    assert r.recorder.named("dropped") == [("expired", 1)]
    assert len(r.recorder.batches()) == 1


async def test_a_deadline_that_passes_during_the_forward_is_answered_in_time(rig):
    async with rig() as r:
        r.encoder.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await r.encode(["느린 문장"], deadline=time.monotonic() + 0.05)
        r.encoder.gate.set()
        await r.recorder.until("abandoned", 7)


async def test_a_deadline_that_has_passed_is_not_even_queued(rig):
    async with rig() as r:
        with pytest.raises(DeadlineExceeded):
            await r.encode(["어제"], deadline=time.monotonic() - 1)

    assert r.recorder.named("refused") == [("DEADLINE_EXCEEDED", 1)]
    assert r.recorder.batches() == []


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(rig):
    async with rig() as r:
        with pytest.raises(DeadlineUnreachable) as refused:
            await r.encode(["가" * 100] * 1000, deadline=time.monotonic() + 0.5)

    assert refused.value.retry_after > 0
    assert r.recorder.named("refused") == [("DEADLINE_UNREACHABLE", 1000)]
    assert r.recorder.batches() == []


async def test_a_hopeless_list_is_refused_and_counted_before_it_is_tokenised_and_nothing_waits(rig):
    async with rig() as r:
        outline = r.work(["가"] * 1000, deadline=time.monotonic() + 0.5)
        with pytest.raises(DeadlineUnreachable):
            r.scheduler.check_hopeless(outline)
        with pytest.raises(DeadlineExceeded):
            r.scheduler.check_hopeless(dataclasses.replace(outline, deadline=time.monotonic() - 1))
        r.scheduler.check_hopeless(dataclasses.replace(outline, deadline=time.monotonic() + 60))
        assert r.scheduler.load.queued_texts == {"interactive": 0, "bulk": 0}
        await r.scheduler.drain(1.0)
        with pytest.raises(ShuttingDown):
            r.scheduler.check_hopeless(outline)

    refused = [("DEADLINE_UNREACHABLE", 1000), ("DEADLINE_EXCEEDED", 1000), ("SHUTTING_DOWN", 1000)]
    assert r.recorder.named("refused") == refused


async def test_a_full_queue_refuses_whole_requests_and_keeps_the_others(rig):
    async with rig(queue_tokens=100) as r:
        first = await r.occupy()
        waiting = r.encode(["가" * 38])
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await r.encode(["나" * 38])
        r.encoder.gate.set()
        await asyncio.gather(first, waiting)


async def test_the_load_tells_what_waits_and_what_runs(rig):
    async with rig() as r:
        assert r.scheduler.load.tokens_per_second == 0
        first = await r.occupy()
        calls = [r.encode(["가나다"]), r.encode(["라마"] * 2, lane=Lane.BULK)]
        await asyncio.sleep(0)
        load = r.scheduler.load
        r.encoder.gate.set()
        await asyncio.gather(first, *calls)

        assert load.queued_texts == {Lane.INTERACTIVE: 1, Lane.BULK: 2}
        assert load.queued_tokens == {Lane.INTERACTIVE: 5, Lane.BULK: 8}
        assert load.running_tokens == 4
        assert load.batch_tokens == 4096
        assert r.scheduler.load.tokens_per_second > 0


async def test_draining_refuses_new_work_and_waits_for_what_is_admitted(rig):
    async with rig() as r:
        first = await r.occupy()
        waiting = r.encode(["기다림"])
        await asyncio.sleep(0)
        draining = asyncio.ensure_future(r.scheduler.drain(60))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await r.encode(["늦음"])
        assert not draining.done()
        r.encoder.gate.set()
        await draining

        assert first.done()
        assert waiting.done()


async def test_draining_gives_up_after_its_time_and_closing_answers_the_rest(rig):
    async with rig() as r:
        first = await r.occupy()
        waiting = r.encode(["기다림"])
        await asyncio.sleep(0)
        await r.scheduler.drain(0.01)
        threading.Timer(0.05, r.encoder.gate.set).start()
        r.scheduler.close()

        for call in (first, waiting):
            with pytest.raises(ShuttingDown):
                await call
    assert r.recorder.named("dropped") == [("SHUTTING_DOWN", 1)]


async def test_closing_twice_is_fine_and_ends_the_thread(rig):
    async with rig() as r:
        r.scheduler.close()
        r.scheduler.close()

    assert not any(thread.name.startswith("munjang-engine") for thread in threading.enumerate())


async def test_a_scheduler_that_was_not_started_refuses():
    encoder = FakeEncoder()
    scheduler = Scheduler(BatchSettings(), lambda name: None)

    class Lease:
        version = 1

    Lease.encoder = encoder
    with pytest.raises(EngineUnavailable):
        await scheduler.encode(Work(Lease(), encoder.tokenize(["안녕"])))


async def test_nothing_to_encode_is_refused(rig):
    async with rig() as r:
        with pytest.raises(NoTexts):
            await r.scheduler.encode(r.work([]))
        work = r.work(["안녕"])
        with pytest.raises(EmptyText) as refused:
            await r.scheduler.encode(Work(work.lease, [*work.tokens, Tokens(())]))

    assert refused.value.path == "texts[1]"


async def test_one_post_a_batch_reaches_the_event_loop(rig, monkeypatch):
    async with rig() as r:
        first = await r.occupy()
        calls = [r.encode([f"문장 {number:02}"], caller=str(number)) for number in range(30)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        posts, real = [], loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda call, *rest: (posts.append(call), real(call, *rest))[1]
        )
        r.encoder.gate.set()
        await asyncio.gather(first, *calls)

    assert len([post for post in posts if "LoopNotifier" in getattr(post, "__qualname__", "")]) == 2


async def test_the_engine_takes_the_next_batch_without_the_event_loop(rig):
    async with rig(batch_tokens=10) as r:
        first = await r.occupy()
        calls = [r.encode(["가나다라마바사아"]) for _ in range(5)]
        await asyncio.sleep(0)
        r.encoder.gate.set()
        with r.recorder._changed:  # the event loop stands still here
            assert r.recorder._changed.wait_for(lambda: len(r.recorder.named("forward")) == 6, timeout=20)
        await asyncio.gather(first, *calls)


def test_it_implements_the_contract():
    scheduler: api.SchedulerContract = Scheduler(BatchSettings(), lambda name: None)

    assert scheduler.healthy
