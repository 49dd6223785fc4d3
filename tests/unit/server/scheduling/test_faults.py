"""Forwards that fail, memory that runs out, defects of our own: who is hit, who is answered, and that it goes on."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from munjang.errors import EncodeFailed, EngineUnavailable, InternalError
from munjang.testing import FakeEncoder
from munjang_server.scheduling import Observer, fair_queue
from munjang_server.scheduling.batch_executor import is_out_of_memory
from munjang_server.scheduling.request import Request
from munjang_server.scheduling.runner_pool import RunnerPool

QUICK = {"probe_seconds": 0.02, "stall_seconds": 5}


@dataclass
class BadRows(FakeEncoder):
    """Gives NaN for texts that begin with 눈, only while they are not alone where `shy` is set."""

    shy: bool = False

    def forward(self, batch, **options):
        rows = super().forward(batch, **options)
        if len(batch) > 1 or not self.shy:
            rows[[chr(tokens.ids[1]) == "눈" for tokens in batch]] = np.nan
        return rows


@dataclass
class Raising(FakeEncoder):
    """Raises what it is given, so many times."""

    error: BaseException | None = None
    times: int = 0

    def forward(self, batch, **options):
        if self.times:
            self.times -= 1
            raise self.error
        return super().forward(batch, **options)


def expected(encoder, texts):
    return np.concatenate([encoder.forward([tokens]) for tokens in encoder.tokenize(texts)])


async def test_a_poisoned_text_among_255_good_ones_fails_alone(rig):
    texts = [f"좋은 문장 {number:03}" for number in range(256)]
    texts[77] = "독이 든 문장"
    async with rig() as r:
        answer = await r.encode(texts)
        forwards = len(r.recorder.named("forward"))

    assert list(answer.errors) == [77]
    assert isinstance(answer.errors[77], EncodeFailed)
    assert answer.errors[77].path == "texts[77]"
    assert "poison" not in str(answer.errors[77])
    assert not answer.rows[77].any()
    np.testing.assert_array_equal(answer.rows[:77], expected(FakeEncoder(), texts[:77]))
    np.testing.assert_array_equal(answer.rows[78:], expected(FakeEncoder(), texts[78:]))
    assert forwards <= 40
    assert r.recorder.named("failed") == [(1,)]


async def test_a_poisoned_call_leaves_its_neighbours_whole(rig):
    async with rig() as r:
        first = await r.occupy()
        calls = [r.encode([text]) for text in ("하나요", "독이요", "셋이요")]
        await asyncio.sleep(0)
        r.encoder.gate.set()
        answers = await asyncio.gather(*calls)
        await first

    assert [list(answer.errors) for answer in answers] == [[], [0], []]
    assert answers[1].rows.shape == (1, 8)


async def test_when_every_text_is_poisoned_each_is_told_so_and_the_engine_stays_healthy(rig):
    async with rig() as r:
        answer = await r.encode(["독약"] * 16)

        assert sorted(answer.errors) == list(range(16))
        assert r.scheduler.healthy


async def test_others_have_their_turn_while_a_poisoned_batch_is_taken_apart(rig):
    async with rig() as r:
        first = await r.occupy()
        poisoned = r.encode(["독약이다"] * 32, caller="독")
        good = r.encode(["가나다"], version=2, caller="선")
        await asyncio.sleep(0)
        r.encoder.gate.set()
        await asyncio.gather(first, poisoned, good)

    events = r.recorder.events
    assert ("failed", 1) not in events[: events.index(("forward", 2))]


async def test_rows_that_are_not_finite_fail_alone(rig, engine):
    engine.encoders[1] = BadRows()
    texts = ["눈먼 문장", "좋은 문장", "눈과 얼음", "밝은 문장"]
    async with rig(engine) as r:
        answer = await r.encode(texts)

    assert sorted(answer.errors) == [0, 2]
    assert np.isfinite(answer.rows).all()
    np.testing.assert_array_equal(answer.rows[[1, 3]], expected(FakeEncoder(), ["좋은 문장", "밝은 문장"]))


async def test_rows_that_are_not_finite_are_tried_once_more_alone(rig, engine):
    engine.encoders[1] = BadRows(shy=True)
    async with rig(engine) as r:
        answer = await r.encode(["눈먼 문장", "좋은 문장"])

    assert not answer.errors
    np.testing.assert_array_equal(answer.rows, expected(FakeEncoder(), ["눈먼 문장", "좋은 문장"]))


async def test_a_forward_that_fails_once_costs_nobody_an_answer(rig, engine):
    engine.encoders[1] = Raising(error=RuntimeError("a hiccup"), times=1)
    async with rig(engine) as r:
        answer = await r.encode(["하나", "둘셋"])

    assert not answer.errors


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_whatever_a_forward_raises_the_thread_lives_on(rig, engine, error):
    engine.encoders[1] = Raising(error=error, times=1)
    async with rig(engine) as r:
        answer = await r.encode(["하나", "둘셋"])

    assert not answer.errors
    assert r.recorder.named("restarted") == []


async def test_an_engine_that_fails_everything_is_given_up_after_three_forwards(rig):
    async with rig(probe_seconds=60) as r:
        first = await r.occupy()
        calls = [r.encode(["가나다" * number]) for number in range(1, 30)]
        await asyncio.sleep(0)
        r.encoder.failing = True
        r.encoder.gate.set()
        outcomes = await asyncio.gather(first, *calls, return_exceptions=True)

        assert all(isinstance(outcome, EngineUnavailable) for outcome in outcomes)
        assert all(outcome.retry_after > 0 for outcome in outcomes)
        assert "fake" not in str(outcomes[0])
        assert len(r.encoder.batches) == 3
        assert not r.scheduler.healthy
        assert r.health == [(False, "forwards fail")]
        with pytest.raises(EngineUnavailable):
            await r.encode(["나중"])
        assert len(r.encoder.batches) == 3


async def test_a_failing_engine_recovers_without_traffic(rig, engine):
    engine.main = 1
    async with rig(engine, **QUICK) as r:
        r.encoder.failing = True
        await r.recorder.until("unhealthy")
        with pytest.raises(EngineUnavailable):
            await r.encode(["지금"])
        r.encoder.failing = False
        await r.recorder.until("healthy")
        answer = await r.encode(["다시"])

    assert r.health == [(False, "forwards fail"), (True, "")]
    assert not answer.errors


async def test_a_failing_version_beside_the_main_one_is_refused_alone(rig, engine):
    engine.main = 1
    async with rig(engine, **QUICK) as r:
        await r.recorder.until("probe good", 1)
        engine.encoders[2].failing = True
        with pytest.raises(EngineUnavailable):
            await r.encode(["카나리아"], version=2)
        with pytest.raises(EngineUnavailable):
            await r.encode(["카나리아"], version=2)
        assert r.scheduler.healthy
        assert not (await r.encode(["본판"])).errors
        engine.encoders[2].failing = False
        before = r.recorder.named("probe good").count((2,))
        await r.recorder.until("probe good", 2, count=before + 1)
        await r.eventually(lambda: not r.scheduler._health.failing)
        assert not (await r.encode(["카나리아"], version=2)).errors

    assert r.health == []


async def test_a_failing_version_that_is_gone_is_forgotten(rig, engine):
    engine.main = 1
    async with rig(engine, **QUICK) as r:
        await r.recorder.until("probe good", 1)
        engine.encoders[2].failing = True
        with pytest.raises(EngineUnavailable):
            await r.encode(["카나리아"], version=2)
        del engine.encoders[2]
        await r.eventually(lambda: not r.scheduler._health.failing)


async def test_rows_of_the_wrong_shape_are_the_engines_fault(rig, engine):
    @dataclass
    class Short(FakeEncoder):
        def forward(self, batch, **options):
            return super().forward(batch, **options)[:-1]

    engine.encoders[1] = Short()
    async with rig(engine) as r:
        with pytest.raises(EngineUnavailable):
            await r.encode(["하나", "둘셋"])


async def test_when_memory_runs_out_smaller_batches_are_run(rig):
    async with rig() as r:
        r.encoder.memory_tokens = 60
        answer = await r.encode(["가나다라마바사아"] * 64)

        assert not answer.errors
        assert r.scheduler.load.batch_tokens <= 60
        assert max(r.encoder.batches[1:]) * 10 <= 640
    assert r.recorder.named("out_of_memory")


async def test_the_budget_recovers_when_there_is_memory_again(rig):
    async with rig(batch_tokens=256) as r:
        r.encoder.memory_tokens = 128
        await r.encode(["가나다라마바사아"] * 25)
        assert r.scheduler.load.batch_tokens < 256
        r.encoder.memory_tokens = 1 << 30
        for _ in range(40):
            await r.encode(["가나다라마바사아"] * 50)

        assert r.scheduler.load.batch_tokens == 256


async def test_a_text_that_memory_never_suffices_for_fails_alone_and_shrinks_nothing(rig):
    async with rig() as r:
        r.encoder.memory_tokens = 50
        answer = await r.encode(["가" * 100])
        assert r.scheduler.load.batch_tokens == 4096

    assert "memory" in str(answer.errors[0])
    assert r.scheduler.healthy


async def test_an_engine_without_any_memory_is_unavailable(rig):
    async with rig() as r:
        r.encoder.memory_tokens = 1
        with pytest.raises(EngineUnavailable):
            await r.encode(["하나", "둘셋"])


def test_memory_errors_of_other_runtimes_are_known():
    class OutOfMemoryError(RuntimeError):
        pass

    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


async def test_a_defect_of_the_policy_fails_what_waits_and_not_what_comes_later(rig, monkeypatch, caplog):
    async with rig() as r:
        with monkeypatch.context() as patch:
            patch.setattr(fair_queue, "fitting", lambda *arguments, **options: 1 / 0)
            calls = [r.encode(["하나"]), r.encode(["둘"])]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, InternalError) for outcome in outcomes)
        assert "division" not in str(outcomes[0])
        assert r.scheduler.load.queued_texts == {"interactive": 0, "bulk": 0}

        assert not (await r.encode(["셋"])).errors

    assert r.recorder.named("restarted")
    assert "ZeroDivisionError" in caplog.text


async def test_a_defect_while_a_batch_is_judged_fails_that_batch_alone(rig, monkeypatch):
    async with rig() as r:
        first = await r.occupy()
        poisoned, good = r.encode(["독약" * 9, "독약" * 9]), r.encode(["문장"], version=2)
        await asyncio.sleep(0)
        monkeypatch.setattr("munjang_server.scheduling.request.Batch.halves", lambda batch: 1 / 0)
        r.encoder.gate.set()
        with pytest.raises(InternalError):
            await poisoned

        assert not (await good).errors
        await first


async def test_a_defect_in_putting_an_answer_together_fails_that_request_alone(rig, monkeypatch):
    answer = Request.answer
    monkeypatch.setattr(
        Request, "answer", lambda self, dimensions: 1 / 0 if self.lengths == [5] else answer(self, dimensions)
    )
    async with rig() as r:
        first = await r.occupy()
        broken, good = r.encode(["셋이다"]), r.encode(["넷입니다"])
        await asyncio.sleep(0)
        r.encoder.gate.set()
        with pytest.raises(InternalError):
            await broken

        assert not (await good).errors
        await first


async def test_an_observer_that_raises_hurts_nobody(rig):
    class Broken(Observer):
        def batch(self, seen):
            raise ZeroDivisionError

        def refused(self, reason, lane, texts):
            raise ZeroDivisionError

    async with rig(observer=Broken()) as r:
        assert not (await r.encode(["하나"])).errors


async def test_a_listener_for_health_that_raises_hurts_nobody(rig, engine):
    engine.main = 1
    async with rig(engine, **QUICK) as r:
        r.scheduler._health._on_health = lambda healthy, why: 1 / 0
        r.encoder.failing = True
        await r.recorder.until("unhealthy")
        r.encoder.failing = False
        await r.recorder.until("healthy")

        assert not (await r.encode(["하나"])).errors


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_thread_that_dies_is_started_again_and_its_callers_are_answered(rig, monkeypatch):
    async with rig(**QUICK) as r:
        with monkeypatch.context() as patch:
            patch.setattr(fair_queue, "fitting", lambda *arguments, **options: 1 / 0)
            patch.setattr(RunnerPool, "_recover", lambda *_: sys.exit(1))
            dying = r.encode(["하나"])
            await r.eventually(lambda: not r.scheduler._runners.alive)
        with pytest.raises(InternalError):
            await dying

        assert not (await r.encode(["둘"])).errors
    assert r.recorder.named("restarted")


async def test_a_model_is_not_taken_from_under_a_forward_whose_callers_have_left(rig):
    async with rig(probe_seconds=60, stall_seconds=60) as r:
        first = await r.occupy()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert r.engine.held[1] == 1
        r.encoder.gate.set()
        await r.recorder.until("forward", 1)
