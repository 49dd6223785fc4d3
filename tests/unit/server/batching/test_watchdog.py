"""Stuck forwards, idle engines, stopped processes: what the watchdog sees and what callers are told."""

from __future__ import annotations

import pytest

from munjang.errors import EngineUnavailable
from munjang.testing import FakeEncoder
from munjang_server.batching.forward import Running
from munjang_server.batching.watchdog import AwakeTime, StallDetector

QUICK = {"probe_seconds": 0.02, "stall_seconds": 0.05}
CALM = {"probe_seconds": 0.02, "stall_seconds": 30}


def looks(detector, running, seconds, step=0.25):
    """Whether one of some forwards that go on for so long is found stuck."""
    return any(detector.look(running, step) for _ in range(int(seconds / step) + 1))


def test_a_forward_is_stuck_after_the_floor_however_short_it_should_be():
    running = Running(0.0, 0.01, 10)

    assert not looks(StallDetector(3.0), [running], 3.0)
    assert looks(StallDetector(3.0), [running], 3.5)


def test_a_forward_that_is_expected_to_take_long_is_given_time():
    running = Running(0.0, 2.0, 10)

    assert not looks(StallDetector(3.0), [running], 8.0)
    assert looks(StallDetector(3.0), [running], 8.5)


def test_many_forwards_one_after_the_other_are_not_one_that_is_stuck():
    detector = StallDetector(3.0)

    assert not any(detector.look([Running(float(number), 0.01, 10)], 1.0) for number in range(100))


def test_a_forward_that_is_stuck_beside_others_is_found_and_named():
    detector = StallDetector(3.0)
    stuck = Running(0.0, 0.05, 10)

    found = [detector.look([Running(float(number), 0.05, 10), stuck], 1.0) for number in range(6)]

    assert found == [[], [], [], [], [stuck], [stuck]]


def test_an_idle_engine_is_not_stuck():
    detector = StallDetector(3.0)

    assert not looks(detector, [], 100)


def test_an_engine_is_found_stuck_within_five_seconds_by_default():
    detector = StallDetector(3.0)

    assert looks(detector, [Running(0.0, 0.05, 10)], 4.0, step=1 / 8)


def test_time_in_which_the_process_was_stopped_is_not_counted():
    awake = AwakeTime(0.25)
    times = [0.0, 0.25, 0.5, 3600.5, 3600.75]

    assert sum(awake.since_last(now) for now in times) == pytest.approx(0.25 + 0.25 + 0.5 + 0.25)


async def test_after_a_stop_of_the_process_a_running_forward_is_not_taken_as_stuck(rig):
    async with rig(**CALM) as r:
        first = await r.occupy()
        r.batcher._watchdog.look(1_000_000.0)
        r.batcher._watchdog.look(1_003_600.0)
        assert r.batcher.healthy
        r.encoder.gate.set()
        assert not (await first).errors


async def test_callers_of_a_stuck_engine_are_answered_and_new_ones_refused(rig):
    async with rig(**QUICK) as r:
        running = await r.occupy()
        waiting = [r.encode(["기다림"]), r.encode(["다른 판"], version=2)]
        for call in (running, *waiting):
            with pytest.raises(EngineUnavailable, match="running for over") as failed:
                await call
            assert failed.value.retry_after > 0
        assert not r.batcher.healthy
        with pytest.raises(EngineUnavailable):
            await r.encode(["나중"])
        assert r.batcher.load.queued_texts == {"interactive": 0, "bulk": 0}

    assert r.health[0][0] is False
    assert r.recorder.named("dropped") == [("ENGINE_UNAVAILABLE", 1)] * 2


async def test_a_stuck_engine_that_comes_back_recovers_without_traffic(rig, engine):
    engine.main = 1
    async with rig(engine, stall_seconds=0.05, probe_seconds=3600) as r:
        await r.recorder.until("probe good", 1)
        await r.encode(["먼저"])
        running = await r.occupy()
        with pytest.raises(EngineUnavailable):
            await running
        r.encoder.gate.set()
        await r.recorder.until("healthy")
        assert not (await r.encode(["다시"])).errors

    assert [healthy for healthy, _ in r.health] == [False, True]
    assert r.recorder.named("dead") == [(4,)]


async def test_an_idle_engine_that_gets_stuck_is_noticed_without_traffic(rig, engine):
    engine.main = 1
    async with rig(engine, **QUICK) as r:
        await r.recorder.until("probe good", 1)
        r.encoder.gate.clear()
        await r.recorder.until("unhealthy")
        r.encoder.gate.set()
        await r.recorder.until("healthy")


async def test_an_idle_engine_that_begins_to_fail_is_noticed_without_traffic(rig, engine):
    engine.main = 1
    async with rig(engine, **CALM) as r:
        await r.recorder.until("probe good", 1)
        r.encoder.failing = True
        await r.recorder.until("unhealthy")
        r.encoder.failing = False
        await r.recorder.until("healthy")


async def test_one_failed_probe_is_not_enough_to_turn_health(rig, engine):
    class Once(FakeEncoder):
        def forward(self, batch):
            self.failing = not self.batches
            return super().forward(batch)

    engine.main, engine.encoders[1] = 1, Once()
    async with rig(engine, **CALM) as r:
        await r.recorder.until("probe good", 1)

    assert [event for event in r.recorder.events if "probe" in event[0]][:2] == [("probe bad", 1), ("probe good", 1)]
    assert r.health == []


async def test_an_engine_that_works_is_not_probed(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=3600) as r:
        await r.recorder.until("probe good", 1)
        for _ in range(20):
            await r.encode(["일"])
            r.batcher._watchdog.look(r.batcher._forward.succeeded + 3599)

    assert len(r.recorder.named("probe good")) == 1


async def test_a_new_version_is_measured_while_the_engine_is_idle(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=3600) as r:
        await r.recorder.until("probe good", 1)
        await r.eventually(lambda: len(r.encoder.batches) == 3)
        await r.eventually(lambda: r.batcher._speed.curve(1).seconds(1024) < 0.5)

    probe_tokens = len(r.encoder.tokenize(["문장이 벡터가 됩니다."])[0])
    assert r.encoder.batches == [1, 1024 // probe_tokens, 1024 // probe_tokens]


async def test_probes_do_not_pile_up_behind_a_long_forward(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=3600, stall_seconds=1e6) as r:
        await r.recorder.until("probe good", 1)
        await r.encode(["먼저"])
        running = await r.occupy()
        for hour in range(1, 100):
            r.batcher._watchdog.look(r.batcher._forward.succeeded + 3601.0 * hour)
        assert len(r.batcher._inbox._probes) == 1
        r.encoder.gate.set()
        await running


async def test_an_encoder_that_cannot_tokenise_any_more_does_not_work(rig, engine):
    engine.main = 1
    async with rig(engine, **CALM) as r:
        await r.recorder.until("probe good", 1)
        r.encoder.tokenize = lambda texts, prompt_name="": 1 / 0
        await r.recorder.until("unhealthy")
        del r.encoder.tokenize
        await r.recorder.until("healthy")


async def test_the_watchdog_goes_on_after_a_defect_of_its_own(rig, engine, caplog):
    engine.main = 1
    async with rig(engine, **CALM) as r:
        await r.recorder.until("probe good", 1)
        broken, acquire = [], engine.acquire

        def fail(name):
            broken.append(name)
            raise ZeroDivisionError

        r.batcher._watchdog._acquire = fail
        await r.eventually(lambda: len(broken) == 2)
        r.batcher._watchdog._acquire = acquire
        r.encoder.failing = True
        await r.recorder.until("unhealthy")

    assert "the watchdog met a defect" in caplog.text


async def test_closing_does_not_wait_for_a_stuck_forward(rig):
    async with rig(**QUICK) as r:
        running = await r.occupy()
        with pytest.raises(EngineUnavailable):
            await running
        r.batcher.close()

        assert not r.batcher.ended
    assert r.batcher.ended
