"""Watches the engine from the event loop: stuck forwards, idle probes, dead threads, abandoned forwards.

A stuck forward cannot be ended, because it runs in a thread of this process. So its callers get an error and new ones
are refused until it returns by itself and a probe succeeds. A forward that is slow but makes progress is not stuck,
however long its texts are: a forward that computes uses processor time. None of this needs traffic.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from munjang.errors import MunjangError
from munjang_server.scheduling.batch_executor import compute_seconds
from munjang_server.scheduling.request import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from munjang.engine.contract import Lease
    from munjang.settings import BatchSettings
    from munjang_server.scheduling.batch_executor import BatchExecutor, Running
    from munjang_server.scheduling.health import Health
    from munjang_server.scheduling.latency_model import Latencies
    from munjang_server.scheduling.request_queue import RequestQueue
    from munjang_server.scheduling.runner_pool import RunnerPool

_log = logging.getLogger(__name__)

_SLACK = 4.0  # times the estimate, and at least stall_seconds: from then on a forward may be stuck
_LIMIT = 10.0  # times that: then it is stuck even if something computes
_PROGRESS = 0.2  # of one processor: a forward that makes progress uses at least this much
_LOOKS = 8  # looks of the watchdog per stall_seconds or probe_seconds


class AwakeTime:
    """Seconds that this process was awake: without the time for which it was stopped or its event loop was blocked.

    After SIGSTOP and SIGCONT a healthy forward seems to have taken very long by the clock, but not by this time.
    """

    def __init__(self, tick: float) -> None:
        self._most = 2 * tick
        self._last: float | None = None

    def since_last(self, now: float) -> float:
        """Seconds since the last call, two ticks at most."""
        last, self._last = self._last, now
        return 0.0 if last is None else min(now - last, self._most)


@dataclass(slots=True)
class _Watched:
    """What is known of a forward: seconds awake since it began, and when it last made progress."""

    awake: float
    progressed: float = 0.0


class StallDetector:
    """Tells whether a forward is stuck, from regular looks at it.

    Args:
        floor: seconds that any forward may take.
        computed: processor seconds of what computes forwards.
    """

    def __init__(self, floor: float, computed: Callable[[], float] = compute_seconds) -> None:
        self._floor = floor
        self._computed = computed
        self._last = math.inf
        self._watched: dict[Running, _Watched] = {}

    def look(self, running: Iterable[Running], awake: float) -> list[Running]:
        """Those that are stuck of the forwards that run now. `awake`: seconds awake since the last look.

        If several run, a look cannot tell which of them computes. One that is stuck beside others is found by `_LIMIT`
        at the latest, or when the others have ended.
        """
        before, self._watched = self._watched, {}
        for one in running:
            self._watched[one] = seen = before.get(one) or _Watched(-awake)
            seen.awake += awake
        if any(2 * seen.awake > self._floor for seen in self._watched.values()):
            computed = self._computed()
            progress = computed - self._last > _PROGRESS * awake
            self._last = computed
            for one, seen in self._watched.items():
                if progress and one.on_cpu:
                    seen.progressed = seen.awake
        return [one for one, seen in self._watched.items() if self._stuck(one, seen)]

    def _stuck(self, one: Running, seen: _Watched) -> bool:
        allowed = max(self._floor, _SLACK * one.expected)
        return seen.awake > allowed and (seen.awake - seen.progressed > self._floor or seen.awake > _LIMIT * allowed)


class Watchdog:
    """The task that looks.

    Args:
        acquire: leases a version by name; "" is the main one.
        on_stuck: is called once when a forward turns out to be stuck.
    """

    def __init__(
        self,
        settings: BatchSettings,
        engine: tuple[BatchExecutor, RequestQueue, RunnerPool, Latencies],
        health: Health,
        acquire: Callable[[str], Lease],
        on_stuck: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._executor, self._queue, self._runners, self._latencies = engine
        self._health = health
        self._acquire = acquire
        self._on_stuck = on_stuck
        self._tick = min(settings.stall_seconds, settings.probe_seconds) / _LOOKS
        health.still_stuck = lambda: self.stuck
        self._awake = AwakeTime(self._tick)
        self._stall = StallDetector(settings.stall_seconds)
        self._stuck: list[Running] = []
        self._probing: set[int] = set()
        self._probed = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to watch, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="munjang-watchdog")

    def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()

    @property
    def stuck(self) -> bool:
        """Whether a forward that was found stuck still runs, though others may beside it."""
        return any(one in self._stuck for one in self._executor.running)

    def probed(self, version: int) -> None:
        """A probe of this version has ended."""
        self._probing.discard(version)

    async def _watch(self) -> None:
        while True:
            try:
                self.look(time.monotonic())
            except Exception:  # noqa: BLE001 - nothing else would restart the watchdog
                _log.exception("the watchdog met a defect and goes on")
            await asyncio.sleep(self._tick)

    def look(self, now: float) -> None:
        """Look once."""
        if not self._runners.alive:
            self._probing.clear()
            self._runners.revive()
        for one in self._executor.running:
            if one.batch is not None and one.batch.abandoned:
                one.cancellation.cancel()
        turned = self._look_for_stuck(now)
        if turned or now - max(self._probed, self._idle_since()) >= self._settings.probe_seconds:
            self._probed = now
            self._probe()

    def _look_for_stuck(self, now: float) -> bool:
        """Whether a forward turned out to be stuck, or all that did have come back."""
        before, self._stuck = self._stuck, self._stall.look(self._executor.running, self._awake.since_last(now))
        if self._stuck and not self._health.stuck:
            self._on_stuck(f"a forward has been running for {now - self._stuck[0].started:.1f} s without progress")
            return True
        return bool(before) and not self._stuck

    def _idle_since(self) -> float:
        """When a forward last succeeded; minus infinity if only a probe can tell whether the engine works."""
        troubled = self._health.stuck or self._health.failing
        return float("-inf") if troubled else self._executor.succeeded

    def _probe(self) -> None:
        """Queue a probe of the main version and of every failing one, unless one waits or runs."""
        main = self._lease("")
        if main is not None:
            self._health.main_is(main.version)
            self._put(main)
        for version in self._health.failing:
            if main is None or version != main.version:
                lease = self._lease(str(version))
                if lease is None:
                    self._health.forget(version)
                else:
                    self._put(lease)

    def _put(self, lease: Lease) -> None:
        if lease.version in self._probing:
            lease.release()
            return
        self._probing.add(lease.version)
        self._queue.put_probe(Probe(lease, calibrate=not self._latencies.measured(lease.version)))

    def _lease(self, name: str) -> Lease | None:
        try:
            return self._acquire(name)
        except MunjangError:
            return None
