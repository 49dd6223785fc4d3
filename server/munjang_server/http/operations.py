"""For those who operate the server: /livez, /readyz and /metrics. Probes need no token; the metrics need one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

    from munjang_server.http.endpoint import Incoming
    from munjang_server.rpc.calls import Call
    from munjang_server.rpc.health_service import HealthService

UNAVAILABLE = 503
LIVE_PATH = "/livez"
READY_PATH = "/readyz"


def probes(health: HealthService) -> dict[str, Callable[[], str]]:
    """What probes ask, by path, here and on the port of the metrics: "" is good, else the reason why not."""
    return {
        LIVE_PATH: lambda: "" if health.alive else "the engine is stuck or failing",
        READY_PATH: lambda: health.reason,
    }


class Operations:
    """Answers them.

    Args:
        health: whether the server is alive and ready.
        registry: the metrics.
    """

    def __init__(self, health: HealthService, registry: CollectorRegistry) -> None:
        self._health = health
        self._registry = registry

    async def live(self, request: Request) -> Response:  # noqa: ARG002 - of the framework
        """Whether a restart would help: 503 only while the engine is stuck or failing."""
        return _state(probes(self._health)[LIVE_PATH]())

    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - of the framework
        """Whether this server can answer, and what it waits for if it cannot."""
        return _state(probes(self._health)[READY_PATH]())

    async def metrics(self, incoming: Incoming, call: Call) -> Response:  # noqa: ARG002 - every handler gets both
        """The metrics, in Prometheus' or OpenMetrics' format. Reading them may ask Redis, so a thread does."""
        encode, content_type = choose_encoder(incoming.headers.get("accept", ""))
        page = await asyncio.to_thread(encode, self._registry)
        return Response(page, headers={"content-type": content_type})


def _state(reason: str) -> Response:
    return PlainTextResponse(reason or "ok", UNAVAILABLE if reason else 200, {"cache-control": "no-store"})
