"""grpc.health.v1: whether this server can answer, for "" and for each service. Follows the engine and the scheduler.

Not grpcio-health-checking, for two reasons: there, a client that watches without reading delays every change of state,
and a watch never ends, so draining would wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
LIVE = "liveness"
"""The service name that tells whether a restart would help: NOT_SERVING only while the engine is stuck or failing."""

POLL_SECONDS = 0.2
"""How often readiness is checked; a change of the scheduler's health is reported at once."""

log = structlog.get_logger("munjang.server.health")


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the generated base has no types
    """Serves Check and Watch. All methods are for the event loop.

    Args:
        services: the full names of the services.
        not_ready_reason: says in words why the server cannot answer now, or "" if it can.
        alive: whether the engine works, or would if it had a version.
    """

    def __init__(
        self, services: Iterable[str], not_ready_reason: Callable[[], str], alive: Callable[[], bool] = lambda: True
    ) -> None:
        self._services = frozenset({"", SERVICE, LIVE, *services})
        self._not_ready_reason = not_ready_reason
        self._alive = alive
        self._reason = "starting"
        self._draining = False
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def serving(self) -> bool:
        """Whether the server is ready."""
        return not self._reason

    @property
    def reason(self) -> str:
        """Why the server is not ready, in words; "" if it is."""
        return self._reason

    @property
    def alive(self) -> bool:
        """Whether the engine works, or would if it had a version."""
        return self._alive()

    async def poll(self) -> None:
        """Refresh the state periodically, until cancelled."""
        while True:
            self.refresh()
            await asyncio.sleep(POLL_SECONDS)

    def refresh(self) -> None:
        """Determine the state now, and tell watchers if it changed."""
        reason = "draining" if self._draining else self._not_ready_reason()
        if reason == self._reason:
            return
        if not reason:
            log.info("serving")
        else:
            log.warning("not serving", reason=reason)
        self._reason = reason
        self._notify_watchers()

    def drain(self) -> None:
        """Report NOT_SERVING from now on, whatever happens."""
        self._draining = True
        self.refresh()

    def end(self) -> None:
        """End all watches."""
        self._ended = True
        self._notify_watchers()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """Answer with the present state."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802, ARG002 - named by the proto
        """Send the present state, and each change of it."""
        last = None
        while not self._ended:
            changed = self._changed
            status = self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            else:
                await changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._services:
            unknown: int = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            return unknown
        good = self.alive if service == LIVE else self.serving
        status: int = health_pb2.HealthCheckResponse.SERVING if good else health_pb2.HealthCheckResponse.NOT_SERVING
        return status

    def _notify_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
