"""The server program: makes every part from the settings, puts them together, and takes them down again in order."""

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
from munjang_server.admin import Admin
from munjang_server.batching.batcher import Batcher
from munjang_server.batching.pace import LONGEST
from munjang_server.front import Front
from munjang_server.lifecycle import drain
from munjang_server.metrics.batching import BatchMetrics, show_load
from munjang_server.metrics.engine import EngineMetrics, show_versions
from munjang_server.metrics.page import serve_page
from munjang_server.metrics.queue import show_queue
from munjang_server.metrics.registry import show_registry
from munjang_server.security.guard import OpenGuard, is_loopback
from munjang_server.security.tls import credentials
from munjang_server.security.tokens import TokenGuard

if TYPE_CHECKING:
    from munjang.settings import ServerSettings
    from munjang_server.lifecycle import Stop
    from munjang_server.security.guard import Guard
    from munjang_server.tracing import Tracing

LOAD_SECONDS = 0.5
"""How long a load may still take when the server ends; after that it is abandoned, see `leaving`."""

log = structlog.get_logger("munjang.server")


class App:
    """All parts of one server process. Make it on the event loop that shall serve it.

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
        self._batch_metrics = BatchMetrics(self._metrics)
        self._batcher = Batcher(settings, self._engine.acquire, self._batch_metrics, self._engine_health)
        self._provider = setup_tracing(settings, "munjang-server")
        self._front = Front(
            settings,
            self._engine,
            self._batcher,
            guard=choose_guard(settings),
            registry=self._metrics,
            admin=Admin(self._registry, self._watcher.look, self._engine, settings.max_message_bytes),
            why_not_ready=self._why_not_ready,
            tracing=self._tracing(),
        )
        show_load(self._metrics, self._batcher)
        show_versions(self._metrics, self._engine)
        show_registry(self._metrics, lambda: self._watcher.error, self._disks())
        show_queue(self._metrics, settings.redis_url)

    async def run(self, stop: Stop) -> int:
        """Serve until a signal; returns the exit status."""
        settings = self._settings
        port = self._front.listen(credentials(settings))
        async with AsyncExitStack() as stack:
            if self._provider is not None:
                stack.push_async_callback(asyncio.to_thread, self._provider.shutdown)
            stack.enter_context(serve_page(self._metrics, settings.metrics_host, settings.metrics_port))
            self._engine.start()
            stack.push_async_callback(asyncio.to_thread, self._engine.close, LOAD_SECONDS)
            self._watcher.start()
            stack.push_async_callback(asyncio.to_thread, self._watcher.close)
            self._batcher.start()
            stack.callback(self._batcher.close)
            await self._front.start()
            log.info(
                "listening", host=settings.host, port=port, registry=self._registry.url, release=munjang.__version__
            )
            await stop.wait()
            log.info("stopping", signal=stop.signal.name)
            lame_duck = settings.lame_duck_seconds if stop.signal is signal.SIGTERM else 0.0
            await drain(self._front, seconds=settings.drain_seconds, lame_duck=lame_duck)
        return 0

    def _disks(self) -> dict[str, Path]:
        """The folders that versions and what is made of them are kept in."""
        here = {"cache": self._settings.cache_folder.absolute()}
        return here | ({"registry": Path(self._registry.url).absolute()} if self._registry.local else {})

    def _tracing(self) -> Tracing | None:
        if self._provider is None:
            return None
        from munjang_server.tracing import Tracing  # noqa: PLC0415 - OpenTelemetry is only paid for where it is used

        return Tracing(self._provider)

    def _engine_health(self, healthy: bool, reason: str) -> None:
        if healthy:
            log.info("engine healthy")
        else:
            log.error("engine unhealthy", reason=reason)
        self._front.health.look()

    def _expect(self, version: int) -> None:
        self._batch_metrics.expect(version)
        self._front.expect(version)

    def _forget(self, version: int) -> None:
        self._front.forget(version)

    def _why_not_ready(self) -> str:
        """What a server without a version waits for, in words for the log."""
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


def choose_guard(settings: ServerSettings) -> Guard:
    """Who may call, by the settings; says where they are not safe.

    Raises:
        ConfigurationError: the token file is not valid.
    """
    loopback = is_loopback(settings.host)
    if not settings.tokens_file:
        return OpenGuard(admin=loopback)
    if not settings.tls_cert and not loopback:
        log.warning("tokens travel unencrypted: set MUNJANG_TLS_CERT, or let a proxy end TLS", host=settings.host)
    return TokenGuard(settings.tokens_file)


def alias_names(aliases: str) -> list[str]:
    """The aliases of the setting.

    Raises:
        ConfigurationError: there are none.
    """
    names = [name for part in aliases.split(",") if (name := part.strip())]
    if not names:
        msg = "MUNJANG_ALIASES names no alias; the server would have nothing to serve"
        raise ConfigurationError(msg, field="aliases")
    return names
