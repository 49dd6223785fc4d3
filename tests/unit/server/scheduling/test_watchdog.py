"""Stuck forwards, idle engines, stopped processes: what the watchdog sees and what callers are told."""

from __future__ import annotations

import threading
import time

import pytest

from munjang.errors import EngineUnavailable
from munjang.testing import FakeEncoder
from munjang_server.scheduling.batch_executor import Running, compute_seconds
from munjang_server.scheduling.watchdog import AwakeTime, StallDetector

QUICK = {"probe_seconds": 0.02, "stall_seconds": 0.05}
CALM = {"probe_seconds": 0.02, "stall_seconds": 30}


def forward(expected):
    return Running(expected, 10, None, on_cpu=True)


def detector(computed=lambda: 0.0):
    """Of forwards that may take three seconds; `computed()` is the processor time that they have had."""
    return StallDetector(3.0, computed)


class Works:
    """Processor time that goes up by a share of every quarter of a second."""

    def __init__(self, share):
        self.share, self.seconds = share, 0.0

    def __call__(self):
        self.seconds += 0.25 * self.share
        return self.seconds


def looks(watching, running, seconds, step=0.25):
    """Whether one of some forwards that go on for so long is found stuck."""
    return any(watching.look(running, step) for _ in range(int(seconds / step) + 1))


def test_a_forward_is_stuck_after_the_floor_however_short_it_should_be():
    running = forward(0.01)

    assert not looks(detector(), [running], 3.0)
    assert looks(detector(), [running], 3.5)


def test_a_forward_that_is_expected_to_take_long_is_given_time():
    running = forward(2.0)

    assert not looks(detector(), [running], 8.0)
    assert looks(detector(), [running], 8.5)


def test_a_slow_forward_that_makes_progress_is_not_stuck_however_long_it_takes():
    """A text of 8,192 tokens is worked on, though the model was expected to be ten times faster."""
    assert not looks(detector(Works(0.4)), [forward(2.0)], 75.0)


def test_a_forward_that_has_ceased_to_make_progress_is_stuck_after_the_floor():
    works = Works(0.4)
    watching, one = detector(works), forward(1.0)
    assert not looks(watching, [one], 20.0)
    works.share = 0.1  # what answers and refuses calls meanwhile
    assert not looks(watching, [one], 2.5)
    assert looks(watching, [one], 1.0)


def test_a_forward_that_only_seems_to_work_is_given_up_after_ten_times_what_it_may_take():
    one = forward(0.01)
    watching = detector(Works(1.0))

    assert not looks(watching, [one], 29.0)
    assert looks(watching, [one], 2.0)


def spin(seconds):
    """Let a thread of this name's kind use the processor for so long, and return when it has."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(("name", "counts"), [("munjang-runner-7", True), ("munjang-tokenizer", False)])
def test_what_computes_is_told_from_what_else_python_does(name, counts):
    read = threading.Event()

    def work():
        spin(0.3)
        done.set()
        read.wait()  # the time of a thread that has ended is not told any more

    done, before = threading.Event(), compute_seconds()
    thread = threading.Thread(target=work, name=name)
    thread.start()
    done.wait()
    found = compute_seconds() - before
    read.set()
    thread.join()
    assert (found > 0.2) == counts


def test_a_thread_that_ends_while_it_is_looked_at_costs_nothing(monkeypatch):
    """Its number names nothing any more, or is that of a thread that Python has never seen."""
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.Thread(name="gone")])

    assert compute_seconds() >= 0


def test_many_forwards_one_after_the_other_are_not_one_that_is_stuck():
    watching = detector()

    assert not any(watching.look([forward(0.01)], 1.0) for number in range(100))


def test_a_forward_that_is_stuck_beside_others_is_found_and_named():
    watching = detector()
    stuck = forward(0.05)

    found = [watching.look([forward(0.05), stuck], 1.0) for number in range(6)]

    assert found == [[], [], [], [], [stuck], [stuck]]


def test_an_idle_engine_is_not_stuck():
    watching = detector()

    assert not looks(watching, [], 100)


def test_an_engine_is_found_stuck_within_five_seconds_by_default():
    assert looks(detector(), [forward(0.05)], 4.0, step=1 / 8)


def test_time_in_which_the_process_was_stopped_is_not_counted():
    awake = AwakeTime(0.25)
    times = [0.0, 0.25, 0.5, 3600.5, 3600.75]

    assert sum(awake.since_last(now) for now in times) == pytest.approx(0.25 + 0.25 + 0.5 + 0.25)


async def test_after_a_stop_of_the_process_a_running_forward_is_not_taken_as_stuck(rig):
    async with rig(**CALM) as r:
        first = await r.occupy()
        r.scheduler._watchdog.look(1_000_000.0)
        r.scheduler._watchdog.look(1_003_600.0)
        assert r.scheduler.healthy
        r.encoder.gate.set()
        assert not (await first).errors


async def test_callers_of_a_stuck_engine_are_answered_and_new_ones_refused(rig):
    async with rig(**QUICK) as r:
        running = await r.occupy()
        waiting = [r.encode(["기다림"]), r.encode(["다른 판"], version=2)]
        for call in (running, *waiting):
            with pytest.raises(EngineUnavailable, match="without progress") as failed:
                await call
            assert failed.value.retry_after > 0
        assert not r.scheduler.healthy
        with pytest.raises(EngineUnavailable):
            await r.encode(["나중"])
        assert r.scheduler.load.queued_texts == {"interactive": 0, "bulk": 0}

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
    assert r.recorder.named("abandoned") == [(4,)]


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
        def forward(self, batch, **options):
            self.failing = not self.batches
            return super().forward(batch, **options)

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
            r.scheduler._watchdog.look(r.scheduler._executor.succeeded + 3599)

    assert len(r.recorder.named("probe good")) == 1


async def test_a_new_version_is_measured_in_growing_sizes_while_the_engine_is_idle(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=3600) as r:
        await r.recorder.until("probe good", 1)
        await r.eventually(lambda: len(r.encoder.batches) == 7)
        await r.eventually(lambda: r.scheduler._latencies.of(1).seconds(1024) < 0.5)

    probe_tokens = len(r.encoder.tokenize(["문장이 벡터가 됩니다."])[0])
    assert r.encoder.batches == [1, *[size // probe_tokens for size in (64, 64, 256, 256, 1024, 1024)]]


async def test_a_slow_model_is_not_measured_with_forwards_that_callers_would_wait_for(rig, engine):
    engine.main = 1
    engine.encoders[1].gate.clear()
    async with rig(engine, probe_seconds=3600, stall_seconds=3600) as r:
        record = r.scheduler._latencies.record  # as of a model that does 200 tokens a second
        r.scheduler._latencies.record = lambda version, tokens, squares, _: record(
            version, tokens, squares, tokens / 200
        )
        engine.encoders[1].gate.set()
        await r.recorder.until("probe good", 1)
        await r.eventually(lambda: not r.scheduler._watchdog._probing)

    probe_tokens = len(r.encoder.tokenize(["문장이 벡터가 됩니다."])[0])
    assert max(r.encoder.batches) <= 64 // probe_tokens


async def test_probes_do_not_pile_up_behind_a_long_forward(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=3600, stall_seconds=1e6) as r:
        await r.recorder.until("probe good", 1)
        await r.encode(["먼저"])
        running = await r.occupy()
        for hour in range(1, 100):
            r.scheduler._watchdog.look(r.scheduler._executor.succeeded + 3601.0 * hour)
        assert len(r.scheduler._queue._probes) == 1
        r.encoder.gate.set()
        await running


async def test_an_encoder_that_cannot_tokenise_any_more_does_not_work(rig, engine):
    engine.main = 1
    async with rig(engine, **CALM) as r:
        await r.recorder.until("probe good", 1)
        r.encoder.tokenize = lambda texts: 1 / 0
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

        r.scheduler._watchdog._acquire = fail
        await r.eventually(lambda: len(broken) == 2)
        r.scheduler._watchdog._acquire = acquire
        r.encoder.failing = True
        await r.recorder.until("unhealthy")

    assert "the watchdog met a defect" in caplog.text


async def test_closing_does_not_wait_for_a_stuck_forward(rig):
    async with rig(**QUICK) as r:
        running = await r.occupy()
        with pytest.raises(EngineUnavailable):
            await running
        r.scheduler.close()

        assert not r.scheduler.ended
    assert r.scheduler.ended


async def test_a_forward_that_nobody_waits_for_any_more_is_ended(rig, engine):
    engine.main = 1
    async with rig(engine, probe_seconds=0.2, stall_seconds=1e6) as r:
        await r.recorder.until("probe good", 1)
        await r.eventually(lambda: not r.scheduler._watchdog._probing)
        running = await r.occupy()  # its gate stays closed
        running.cancel()
        await r.recorder.until("abandoned", 4)
        await r.eventually(lambda: r.scheduler.load.running_tokens == 0)
        r.encoder.gate.set()
        assert not (await r.encode(["다음"])).errors

    assert r.health == []
