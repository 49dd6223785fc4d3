"""Section `faults`: forwards that fail, hang or find no memory, a stopped process, a poisoned text; how each hurts.

That the server does right then is for the tests (`tests/unit/server/batching/test_faults.py` and others); here real
processes are timed: when health turns and turns back, how long callers wait, what they are told.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from munjang.client import Client, RetryPolicy
from munjang.errors import MunjangError
from tests.bench.serving.orders import HealthWatch, hurt
from tests.bench.speed import texts
from tests.bench.speed.stats import timed

if TYPE_CHECKING:
    from tests.bench.serving.orders import Orders
    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context

CALLERS = 4
CALL_TEXTS = 4
PATIENCE = 30.0
SHORT_PATIENCE = 2.0
PAUSE = 0.02
"""What a caller that was refused waits, in seconds."""

LONGEST = 60.0
GOOD, POISONED = 255, 77
POISON = "독약이 든 문장입니다."
ORDERS = {
    "every forward fails": "raise",
    "a forward is stuck": "stuck",
    "no memory at all": "memory 0",
}
FEW_TOKENS = 40
"""There is memory for a text, and not for a call."""


def measure(context: Context) -> dict[str, Any]:
    """Seconds until health turned and was back, the callers' longest wait, and what they were told, by fault."""
    some = texts.take(context.texts, 200)
    hold = 3.0 if context.quick else 10.0
    with hurt(context) as (server, orders), HealthWatch(server.target) as health:
        faults = {}
        for name, order in ORDERS.items():
            with _Callers(server.target, some, PATIENCE) as callers:
                faults[name] = _unhealthy(orders, order, health, hold) | callers.report()
        with _Callers(server.target, some, PATIENCE) as callers:
            faults["memory for one text alone"] = _bearable(orders, health, hold) | callers.report()
        with _Callers(server.target, some, SHORT_PATIENCE) as callers:
            faults["the process is stopped"] = _stopped(server, health, callers, hold) | callers.report()
        poison = _poison(server, orders, texts.take(some, GOOD))
    return {"hold_seconds": hold, "faults": faults, "poison": poison}


def _unhealthy(orders: Orders, order: str, health: HealthWatch, hold: float) -> dict[str, float]:
    """A fault that health must tell of; it lasts `hold` seconds."""
    begun = time.monotonic()
    orders.give(order)
    turned = health.wait("NOT_SERVING", begun, LONGEST)
    time.sleep(max(0.0, begun + hold - time.monotonic()))
    mended = time.monotonic()
    orders.give("")
    back = health.wait("SERVING", mended, LONGEST)
    return {"not_serving_seconds": turned - begun, "serving_again_seconds": back - mended}


def _bearable(orders: Orders, health: HealthWatch, hold: float) -> dict[str, Any]:
    """A fault that no caller shall notice."""
    begun = time.monotonic()
    orders.give(f"memory {FEW_TOKENS}")
    time.sleep(hold)
    orders.give("")
    return {"health_turned": health.turned("NOT_SERVING", begun)}


def _stopped(server: Serving, health: HealthWatch, callers: _Callers, hold: float) -> dict[str, Any]:
    """SIGSTOP, and SIGCONT after `hold` seconds: health cannot turn meanwhile, but callers must not hang."""
    begun = time.monotonic()
    for process in server.server.processes():
        process.suspend()
    time.sleep(hold)
    woken = time.monotonic()
    for process in server.server.processes():
        process.resume()
    answered = callers.answered_after(woken, LONGEST)
    return {"answer_again_seconds": answered - woken, "health_turned": health.turned("NOT_SERVING", begun)}


def _poison(server: Serving, orders: Orders, good: list[str]) -> dict[str, Any]:
    """A call of good texts with one that the model fails on, beside the same call without it."""
    some = [*good[:POISONED], POISON, *good[POISONED:]]
    with Client(server.target, retry=RetryPolicy(attempts=1), batch_size=1024, timeout=PATIENCE) as client:
        clean = min(timed(lambda: client.encode(some)) for _ in range(3))
        orders.give(f"poison {POISON}")
        begun = time.perf_counter()
        found = client.encode(some, partial_results=True)
        seconds = time.perf_counter() - begun
        orders.give("")
    return {
        "texts": len(some),
        "answered": int(found.vectors.any(axis=1).sum()),
        "errors": [{"index": error.index, "reason": error.reason} for error in found.errors],
        "poisoned": POISONED,
        "seconds": seconds,
        "clean_seconds": clean,
    }


@dataclass
class _Callers:
    """Threads that call all the while, a moment apart where they are refused; use it in a `with` statement."""

    target: str
    some: list[str]
    patience: float
    outcomes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    answered: float = 0.0

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._call, args=[number]) for number in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        self.answered_after(time.monotonic(), LONGEST)
        with self._changed:
            self.outcomes.clear()
            self.longest = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def answered_after(self, moment: float, seconds: float) -> float:
        """The `time.monotonic()` of an answer after a moment.

        Raises:
            TimeoutError: there was none in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.answered > moment, seconds):
                raise TimeoutError(f"no answer in {seconds:g} s")
            return self.answered

    def report(self) -> dict[str, Any]:
        """The longest wait, and how many calls ended how; "answered" is no error."""
        self.answered_after(time.monotonic(), LONGEST)
        self._stop()
        return {"longest_wait_seconds": self.longest, "calls": dict(self.outcomes.most_common())}

    def _stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number: int) -> None:
        part = self.some[number * CALL_TEXTS : (number + 1) * CALL_TEXTS]
        with Client(self.target, retry=RetryPolicy(attempts=1), timeout=self.patience) as client:
            while not self._ended.is_set():
                begun = time.monotonic()
                try:
                    client.encode(part)
                    outcome = "answered"
                except MunjangError as error:
                    outcome = error.reason
                self._note(outcome, begun)
                self._ended.wait(0.0 if outcome == "answered" else PAUSE)

    def _note(self, outcome: str, begun: float) -> None:
        now = time.monotonic()
        with self._changed:
            self.outcomes[outcome] += 1
            self.longest = max(self.longest, now - begun)
            self.answered = now if outcome == "answered" else self.answered
            self._changed.notify_all()
