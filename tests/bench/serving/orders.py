"""Orders for a server that can be hurt (`hurt`), and what its health says meanwhile."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.bench.serving.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.serving.serving import Serving
    from tests.bench.speed.context import Context


class Orders:
    """What the server's forwards shall do from now on; see `hurt`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.give("")

    def give(self, order: str) -> None:
        """Give an order, at once and whole."""
        new = self.path.with_suffix(".new")
        new.write_text(order, "utf-8")
        new.replace(self.path)


@contextmanager
def hurt(context: Context, **settings: object) -> Iterator[tuple[Serving, Orders]]:
    """A server that can be hurt, and its orders."""
    orders = Orders(context.work / "orders")
    program = ("-m", "tests.bench.serving.hurt", str(orders.path))
    with serving(context, program=program, name="munjang-hurt", **settings) as server:
        yield server, orders


class HealthWatch:
    """Hears of every change of a server's health; use it in a `with` statement."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._changed = threading.Condition()
        self._heard: list[tuple[float, str]] = []

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(self._target)
        self._call = health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest())
        self._thread = threading.Thread(target=self._hear, name="health-watch")
        self._thread.start()
        self.wait("SERVING", 0.0, 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._call.cancel()
        self._thread.join()
        self._channel.close()

    def wait(self, status: str, since: float, seconds: float) -> float:
        """The `time.monotonic()` at which health turned to a status, after `since`.

        Raises:
            TimeoutError: it did not in time.
        """

        def found() -> float | None:
            return next((when for when, told in self._heard if told == status and when >= since), None)

        with self._changed:
            when = self._changed.wait_for(found, seconds)
        if when is None:
            raise TimeoutError(f"health did not turn {status} in {seconds:g} s")
        return when

    def turned(self, status: str, since: float) -> bool:
        """Whether health has turned to a status after `since`."""
        with self._changed:
            return any(told == status and when >= since for when, told in self._heard)

    def _hear(self) -> None:
        try:
            for reply in self._call:
                name = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
                with self._changed:
                    self._heard.append((time.monotonic(), name))
                    self._changed.notify_all()
        except grpc.RpcError:
            return  # cancelled, at the end
