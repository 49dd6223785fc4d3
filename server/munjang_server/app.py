"""The server program: creates every part from the settings, connects the parts, and closes them in order."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

import munjang
from munjang.engine import Engine, VersionState
from munjang.engine.version_loader import VersionLoader
from munjang.errors import ConfigurationError
from munjang.metrics import new_registry
from munjang.registry import Registry, Watcher
from munjang.telemetry import setup_tracing
from munjang_server.http.operations import probes
from munjang_server.http.server import HttpServer
from munjang_server.metrics import (
    EngineMetrics,
    SchedulerMetrics,
    show_load,
    show_queue,
    show_registry,
    show_versions,
)
from munjang_server.metrics_page import serve_page
from munjang_server.rpc.model_service import AliasAdmin
from munjang_server.rpc.server import GrpcServer
from munjang_server.rpc.services import Services
from munjang_server.scheduling import Scheduler
from munjang_server.scheduling.latency_model import LONGEST
from munjang_server.security.authentication import PeerAuthenticator, TokenAuthenticator, is_loopback
from munjang_server.security.tls import credentials
from munjang_server.shutdown import drain

if TYPE_CHECKING:
    from munjang.settings import ServerSettings
    from munjang_server.rpc.calls import Tracer
    from munjang_server.security.authentication import Authenticator
    from munjang_server.shutdown import StopSignal

LOAD_SECONDS = 0.5
"""How long a load may still take when the server ends; after that it is abandoned, see `exit_process`."""

log = structlog.get_logger("munjang.server")


class App:
    """All parts of one server process. Create it on the event loop that should serve it.

    Raises:
        ConfigurationError: a setting is wrong, or the machine lacks something.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._metrics = new_registry("server")
        self._registry = Registry(settings.registry_url)
        self._engine = Engine(
            VersionLoader(self._registry, settings, interactive=True, longest=LONGEST),
            alias_names(settings.aliases),
            keep_previous=settings.keep_previous,
            observer=EngineMetrics(self._metrics, self._expect, self._forget),
        )
        self._watcher = Watcher(self._registry, settings.watch_seconds, self._engine.update)
        self._scheduler_metrics = SchedulerMetrics(self._metrics)
        self._scheduler = Scheduler(settings, self._engine.acquire, self._scheduler_metrics, self._engine_health)
        self._provider = setup_tracing(settings, "munjang-server")
        self._services = Services(
            settings,
            self._engine,
            self._scheduler,
            authenticator=choose_authenticator(settings),
            registry=self._metrics,
            admin=AliasAdmin(self._registry, self._watcher.look, self._engine),
            registry_id=self._registry_id,
            not_ready_reason=self._not_ready_reason,
            tracer=self._tracer(),
        )
        self._grpc = GrpcServer(settings, self._services)
        self._http = HttpServer(settings, self._services) if settings.http_port else None
        show_load(self._metrics, self._scheduler)
        show_versions(self._metrics, self._engine)
        show_registry(self._metrics, lambda: self._watcher.error, self._disks())
        show_queue(self._metrics, settings.redis_url)

    async def run(self, stop: StopSignal) -> int:
        """Serve until a signal; returns the exit status."""
        settings = self._settings
        port = self._grpc.listen(credentials(settings))
        http_port = self._http.listen() if self._http is not None else 0
        async with AsyncExitStack() as stack:
            if self._provider is not None:
                stack.push_async_callback(asyncio.to_thread, self._provider.shutdown)
            stack.enter_context(
                serve_page(self._metrics, settings.metrics_host, settings.metrics_port, probes(self._services.health))
            )
            self._engine.start()
            stack.push_async_callback(asyncio.to_thread, self._engine.close, LOAD_SECONDS)
            self._watcher.start()
            stack.push_async_callback(asyncio.to_thread, self._watcher.close)
            self._scheduler.start()
            stack.callback(self._scheduler.close)
            self._services.start()
            doors = [door for door in (self._grpc, self._http) if door is not None]
            for door in doors:
                await door.start()
            log.info(
                "listening",
                host=settings.host,
                port=port,
                http_port=http_port,
                registry=self._registry.url,
                release=munjang.__version__,
            )
            await stop.wait()
            log.info("stopping", signal=stop.signal.name)
            lame_duck = settings.lame_duck_seconds if stop.signal is signal.SIGTERM else 0.0
            await drain(self._services, doors, seconds=settings.drain_seconds, lame_duck=lame_duck)
        return 0

    def _disks(self) -> dict[str, Path]:
        """The folders that hold versions and what is derived from them."""
        here = {"cache": self._settings.cache_folder.absolute()}
        return here | ({"registry": Path(self._registry.url).absolute()} if self._registry.local else {})

    def _tracer(self) -> Tracer | None:
        if self._provider is None:
            return None
        from munjang_server.tracing import Tracing  # noqa: PLC0415 - OpenTelemetry is only loaded where it is used

        return Tracing(self._provider).record

    def _engine_health(self, healthy: bool, reason: str) -> None:
        if healthy:
            log.info("engine healthy")
        else:
            log.error("engine unhealthy", reason=reason)
        self._services.health.refresh()

    def _expect(self, version: int) -> None:
        self._scheduler_metrics.expect(version)
        self._services.expect(version)

    def _forget(self, version: int) -> None:
        self._services.forget(version)

    def _registry_id(self) -> str:
        """The id of the registry, "" before it was read."""
        latest = self._watcher.latest
        return latest.registry_id if latest else ""

    def _not_ready_reason(self) -> str:
        """Why the server is not ready, in words for the log; "" if it is ready."""
        if self._engine.ready:
            return ""
        if self._watcher.error is not None:
            return f"the registry {self._registry.url} cannot be read: {self._watcher.error}"
        for status in self._engine.versions():
            if status.state is VersionState.FAILED:
                return f"version {status.version} cannot serve: {status.reason}"
            if status.state in {VersionState.LOADING, VersionState.WARMING}:
                return f"version {status.version} is {status.state}"
        alias = alias_names(self._settings.aliases)[0]
        return f"waiting for a first version behind {alias!r} in {self._registry.url}"


def choose_authenticator(settings: ServerSettings) -> Authenticator:
    """Who may call, by the settings; warns if tokens are not safe.

    Raises:
        ConfigurationError: the token file is not valid.
    """
    loopback = is_loopback(settings.host)
    if not settings.tokens_file:
        return PeerAuthenticator(admin=loopback)
    if not settings.tls_cert and not loopback:
        log.warning("tokens travel unencrypted: set MUNJANG_TLS_CERT, or let a proxy end TLS", host=settings.host)
    return TokenAuthenticator(settings.tokens_file)


def alias_names(aliases: str) -> list[str]:
    """The aliases of the setting.

    Raises:
        ConfigurationError: there are none.
    """
    names = [name for part in aliases.split(",") if (name := part.strip())]
    if not names:
        msg = "MUNJANG_ALIASES names no alias; the server would have no version to serve"
        raise ConfigurationError(msg, field="aliases")
    return names
