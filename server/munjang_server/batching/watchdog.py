"""Looks after the engine from the event loop: is a forward stuck, does an idle engine still work, does its thread live?

A stuck forward cannot be ended, since it runs in a thread of this process. So callers are answered and new ones refused
until it comes back by itself and a probe succeeds. Needs no traffic for any of this.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from munjang.errors import MunjangError
from munjang_server.batching.inbox import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from munjang.engine.contract import Lease
    from munjang.settings import BatchSettings
    from munjang_server.batching.crew import Crew
    from munjang_server.batching.forward import Forward, Running
    from munjang_server.batching.health import Health
    from munjang_server.batching.inbox import Inbox
    from munjang_server.batching.speed import SpeedMeter

_log = logging.getLogger(__name__)

_SLACK = 4.0  # a forward is stuck when it takes so many times longer than expected, and stall_seconds at least
_LOOKS = 8  # times in stall_seconds or probe_seconds that the watchdog looks


class AwakeTime:
    """Seconds that this process was awake: the clock less the time that it was stopped, or the event loop blocked.

    After SIGSTOP and SIGCONT a healthy forward seems to have taken very long by the clock; by this time it has not.
    """

    def __init__(self, tick: float) -> None:
        self._most = 2 * tick
        self._last: float | None = None

    def since_last(self, now: float) -> float:
        """Seconds since the last call, two ticks at most."""
        last, self._last = self._last, now
        return 0.0 if last is None else min(now - last, self._most)


class StallDetector:
    """Says whether a forward is stuck, from looking at it now and then."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._seconds: dict[Running, float] = {}

    def look(self, running: Iterable[Running], awake: float) -> list[Running]:
        """Those that are stuck of the forwards that run now. `awake`: seconds awake since the last look."""
        self._seconds = {one: self._seconds.get(one, -awake) + awake for one in running}
        return [one for one, seconds in self._seconds.items() if seconds > max(self._floor, _SLACK * one.expected)]


class Watchdog:
    """The task that looks.

    Args:
        acquire: leases a version by name; "" is the main one.
        on_stuck: is called once when a forward turns out to be stuck.
    """

    def __init__(
        self,
        settings: BatchSettings,
        engine: tuple[Forward, Inbox, Crew, SpeedMeter],
        health: Health,
        acquire: Callable[[str], Lease],
        on_stuck: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._forward, self._inbox, self._crew, self._speed = engine
        self._health = health
        self._acquire = acquire
        self._on_stuck = on_stuck
        self._tick = min(settings.stall_seconds, settings.probe_seconds) / _LOOKS
        self._awake = AwakeTime(self._tick)
        self._stall = StallDetector(settings.stall_seconds)
        self._stuck: list[Running] = []
        self._probing: set[int] = set()
        self._probed = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="munjang-watchdog")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    @property
    def stuck(self) -> bool:
        """Whether a forward that was found stuck still runs, though others may beside it."""
        return any(one in self._stuck for one in self._forward.running)

    def probed(self, version: int) -> None:
        """A probe of this version has ended."""
        self._probing.discard(version)

    async def _watch(self) -> None:
        while True:
            try:
                self.look(time.monotonic())
            except Exception:  # noqa: BLE001 - nobody would look after the watchdog
                _log.exception("the watchdog met a defect and goes on")
            await asyncio.sleep(self._tick)

    def look(self, now: float) -> None:
        """Look once."""
        if not self._crew.alive:
            self._probing.clear()
            self._crew.revive()
        turned = self._look_for_stuck(now)
        if turned or now - max(self._probed, self._idle_since()) >= self._settings.probe_seconds:
            self._probed = now
            self._probe()

    def _look_for_stuck(self, now: float) -> bool:
        """Whether a forward turned out to be stuck, or all that did have come back."""
        before, self._stuck = self._stuck, self._stall.look(self._forward.running, self._awake.since_last(now))
        if self._stuck and not self._health.stuck:
            self._on_stuck(f"a forward has been running for over {now - self._stuck[0].started:.1f} s")
            return True
        return bool(before) and not self._stuck

    def _idle_since(self) -> float:
        """When a forward last succeeded; long ago where that says nothing, so that probes must."""
        troubled = self._health.stuck or self._health.failing
        return float("-inf") if troubled else self._forward.succeeded

    def _probe(self) -> None:
        """Put in a probe of the main version and of every failing one, unless one is on its way."""
        main = self._lease("")
        if main is not None:
            self._health.main_is(main.version)
            self._put(main)
        for version in self._health.failing:
            if main is None or version != main.version:
                lease = self._lease(str(version))
                if lease is None:
                    self._health.works(version)
                else:
                    self._put(lease)

    def _put(self, lease: Lease) -> None:
        if lease.version in self._probing:
            lease.release()
            return
        self._probing.add(lease.version)
        self._inbox.put_probe(Probe(lease, calibrate=not self._speed.measured(lease.version)))

    def _lease(self, name: str) -> Lease | None:
        try:
            return self._acquire(name)
        except MunjangError:
            return None
