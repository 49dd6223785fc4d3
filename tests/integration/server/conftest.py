"""A whole server on a loopback port, its engine and scheduler real, its models fake."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from munjang.encoder.contract import ModelInfo
from munjang.engine import Engine, VersionState
from munjang.errors import VersionNotFound
from munjang.registry import AliasRecord, Manifest, Snapshot
from munjang.settings import ServerSettings
from munjang.testing import FakeEncoder
from munjang.v1 import embedding_service_pb2_grpc, model_service_pb2_grpc
from munjang_server.http.server import HttpServer
from munjang_server.metrics import EngineMetrics, SchedulerMetrics, show_load, show_versions
from munjang_server.rpc.model_service import AliasAdmin
from munjang_server.rpc.server import GrpcServer
from munjang_server.rpc.services import Services
from munjang_server.scheduling import Scheduler
from munjang_server.security.authentication import PeerAuthenticator
from munjang_server.security.tls import credentials
from munjang_server.shutdown import drain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

INFO = ModelInfo(8, 128, prompts={"query": "질문: ", "passage": "문서: "}, int8_scale=1 / 127)


OPEN = threading.Event()
OPEN.set()


@dataclass
class FakeModels:
    """Publishes fake versions to an engine, as a registry and its watcher would."""

    encoders: dict[int, FakeEncoder] = field(default_factory=dict)
    refused: dict[int, Exception] = field(default_factory=dict)
    held: dict[int, threading.Event] = field(default_factory=dict)
    aliases: dict[str, AliasRecord] = field(default_factory=dict)
    engine: Engine | None = None

    def __call__(self, version: int, progress: Callable[[VersionState], None]) -> tuple[Manifest, FakeEncoder]:
        assert self.held.get(version, OPEN).wait(30)
        if version in self.refused:
            raise self.refused[version]
        progress(VersionState.WARMING)
        return manifest(version, self.encoders[version].info), self.encoders[version]

    def stop(self) -> None:
        for held in self.held.values():
            held.set()

    def publish(self, version: int, encoder: FakeEncoder | None = None) -> FakeEncoder:
        self.encoders[version] = encoder or FakeEncoder(INFO, seed=version)
        self.tell()
        return self.encoders[version]

    def promote(self, version: int, alias: str = "stable") -> None:
        old = self.aliases.get(alias)
        previous = old.version if old else 0
        self.aliases[alias] = AliasRecord(version=version, previous=previous, changed_at=datetime.now(UTC))
        self.tell()

    def hold(self, version: int) -> None:
        """Let the loading of a version take until `let_go`."""
        self.held[version] = threading.Event()

    def let_go(self, version: int) -> None:
        self.held[version].set()

    def tell(self) -> None:
        versions = {number: manifest(number, encoder.info) for number, encoder in sorted(self.encoders.items())}
        assert self.engine is not None
        self.engine.update(Snapshot(versions, dict(self.aliases)))


def manifest(version: int, info: ModelInfo) -> Manifest:
    return Manifest(
        version=version,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        files=(),
        space_id="5a" * 16,
        dimensions=info.dimensions,
        max_tokens=info.max_tokens,
        similarity=info.similarity,
        prompts=dict(info.prompts),
        default_prompt=info.default_prompt,
        int8_scale=info.int8_scale,
        base_model="가짜/모델",
        metrics={"korsts-dev.spearman": 0.85},
    )


class Swaps(EngineMetrics):
    """The engine's observer; tests can wait for a swap."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._named: dict[str, int] = {}
        self._loads: dict[int, bool] = {}
        self._changed = threading.Condition()

    def alias_moved(self, alias: str, old: int, new: int, seconds: float) -> None:
        super().alias_moved(alias, old, new, seconds)
        with self._changed:
            self._named[alias] = new
            self._changed.notify_all()

    def load_finished(self, version: int, seconds: float, error: Exception | None) -> None:
        super().load_finished(version, seconds, error)
        with self._changed:
            self._loads[version] = error is None
            self._changed.notify_all()

    def load_of(self, version: int, timeout: float = 30) -> bool:
        with self._changed:
            assert self._changed.wait_for(lambda: version in self._loads, timeout)
            return self._loads[version]

    def wait(self, alias: str, version: int, timeout: float = 30) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._named.get(alias) == version, timeout)


@dataclass
class Running:
    """A server that runs, and a channel to it."""

    settings: ServerSettings
    models: FakeModels
    engine: Engine
    scheduler: Scheduler
    services: Services
    doors: list[Any]
    registry: CollectorRegistry
    swaps: Swaps
    port: int
    http_port: int
    channel: grpc.aio.Channel

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def embedding(self) -> embedding_service_pb2_grpc.EmbeddingServiceStub:
        return embedding_service_pb2_grpc.EmbeddingServiceStub(self.channel)

    @property
    def listing(self) -> model_service_pb2_grpc.ModelServiceStub:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    @property
    def encoder(self) -> FakeEncoder:
        return self.models.encoders[1]

    def plain(self) -> grpc.aio.Channel:
        """The channel without TLS."""
        return self.channel

    def raw(self, path: str) -> Any:
        """A method of EmbeddingService called with bytes, answered with bytes."""
        return self.channel.unary_unary(f"/munjang.v1.EmbeddingService/{path}")

    async def swapped(self, version: int, alias: str = "stable") -> None:
        """Wait until an alias answers with a version."""
        assert await asyncio.to_thread(self.swaps.wait, alias, version)

    async def loaded(self, version: int) -> bool:
        """Wait until a version was loaded; False if it failed."""
        return await asyncio.to_thread(self.swaps.load_of, version)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the event loop turn until something is true."""
        async with asyncio.timeout(30):
            while not true():  # noqa: ASYNC110 - what is looked at has no event to wait for
                await asyncio.sleep(0.001)

    async def settled(self, number: Callable[[], float], turns: int = 300) -> float:
        """Wait until a number above zero stands still for a while, and return it."""
        last, same = -1.0, 0
        async with asyncio.timeout(60):
            while same < turns or not last:
                await asyncio.sleep(0.001)
                now = number()
                last, same = (last, same + 1) if now == last else (now, 0)
        return last

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"no series {name} {labels}"
        return value


@asynccontextmanager
async def run_server(
    *,
    encoder: FakeEncoder | None = None,
    first: int = 1,
    authenticator: Any = None,
    admin: Any = None,
    tracing: Any = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run a server with version 1 behind `stable`; `first=0` leaves the registry empty."""
    options = ServerSettings(**({"port": 0, "http_port": 0} | settings))
    registry = CollectorRegistry()
    models = FakeModels()
    batch_metrics = SchedulerMetrics(registry)
    swaps = Swaps(
        registry,
        lambda version: [batch_metrics.expect(version), services.expect(version)],
        lambda version: services.forget(version),  # noqa: PLW0108 - the services are made after their metrics
    )
    engine = Engine(models, ["stable"], observer=swaps)
    models.engine = engine
    scheduler = Scheduler(options, engine.acquire, batch_metrics, lambda *_: services.health.refresh())
    services = Services(
        options,
        engine,
        scheduler,
        authenticator=authenticator or PeerAuthenticator(),
        registry=registry,
        admin=admin and admin(models, engine),
        registry_id=lambda: "1d" * 16,
        tracer=tracing and tracing.record,
    )
    show_load(registry, scheduler)
    show_versions(registry, engine)
    grpc_server, http_server = GrpcServer(options, services), HttpServer(options, services)
    port = grpc_server.listen(credentials(options))
    http_port = http_server.listen() if options.http_port else 0
    doors = [grpc_server, *([http_server] if http_port else [])]
    engine.start()
    scheduler.start()
    services.start()
    for door in doors:
        await door.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            server = Running(
                *(options, models, engine, scheduler, services, doors, registry, swaps, port, http_port, channel)
            )
            if first:
                models.publish(first, encoder)
                models.promote(first)
                await server.swapped(first)
                services.health.refresh()
            yield server
    finally:
        for gate in [*(each.gate for each in models.encoders.values()), *models.held.values()]:
            gate.set()
        await drain(services, doors, seconds=5, lame_duck=0)
        scheduler.close()
        engine.close()


async def wait_for_health(server: Running, status: str = "SERVING") -> None:
    """Wait until health says so."""
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    async for reply in watch:
        if reply.status == health_pb2.HealthCheckResponse.ServingStatus.Value(status):
            watch.cancel()
            return
    pytest.fail("the watch ended")


@dataclass
class Failure:
    """What a caller sees of a failed call."""

    code: str
    reason: str
    field: str
    retry_after: float | None
    message: str


def read_failure(error: grpc.aio.AioRpcError | status_pb2.Status) -> Failure:
    """Read the google.rpc details of an error."""
    if isinstance(error, status_pb2.Status):
        status = error
    else:
        details = dict(error.trailing_metadata() or ())
        assert "grpc-status-details-bin" in details, f"{error.code()}: {error.details()}"
        status = status_pb2.Status.FromString(details["grpc-status-details-bin"])
        assert (status.code, status.message) == (error.code().value[0], error.details())
    found: dict[str, Any] = {}
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    info = found["ErrorInfo"]
    assert info.domain == "munjang"
    bad = found.get("BadRequest")
    retry = found.get("RetryInfo")
    return Failure(
        code=next(code.name for code in grpc.StatusCode if code.value[0] == status.code),
        reason=info.reason,
        field=bad.field_violations[0].field if bad else "",
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
        message=status.message,
    )


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    """A server with version 1 behind `stable`."""
    async with run_server() as started:
        yield started


@pytest.fixture(name="run_server")
def run_server_fixture():
    """Start a server with settings of one's own: `async with run_server(max_texts=3) as server`."""
    return run_server


@pytest.fixture
def failure():
    """Reads the google.rpc details of a failed call."""
    return read_failure


@pytest.fixture
def health():
    """Waits until a server's health is SERVING, or another status."""
    return wait_for_health


class FakeAliases:
    """The aliases of `FakeModels`, as a registry would move them."""

    def __init__(self, models: FakeModels) -> None:
        self._models = models

    def promote(self, alias: str, version: int, by: str = "") -> AliasRecord:
        if version not in self._models.encoders:
            msg = f"there is no version {version} in memory://somewhere"
            raise VersionNotFound(msg)
        self._models.promote(version, alias)
        return self._models.aliases[alias]

    def rollback(self, alias: str, by: str = "") -> AliasRecord:
        if alias not in self._models.aliases:
            msg = f"there is no alias {alias} in memory://somewhere"
            raise VersionNotFound(msg)
        return self.promote(alias, self._models.aliases[alias].previous, by)


@pytest.fixture
def fake_aliases():
    """Makes the admin methods of a server, for `run_server(admin=…)`."""
    return lambda models, engine: AliasAdmin(FakeAliases(models), lambda: None, engine)
