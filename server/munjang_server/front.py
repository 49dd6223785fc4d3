"""The gRPC server itself: which services it has, how it listens, how it stops. What is behind the services is given."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from munjang.errors import ConfigurationError
from munjang_server import embedding, health, jobs, models
from munjang_server.call import Permission, Rpc
from munjang_server.embedding import Encode
from munjang_server.encoding import Encoding
from munjang_server.gate import Gate
from munjang_server.health import Health
from munjang_server.jobs import Jobs
from munjang_server.metrics.cache import CacheMetrics
from munjang_server.metrics.calls import CallMetrics
from munjang_server.models import Models
from munjang_server.recall import Recall
from munjang_server.similarity import Similarity
from munjang_server.stream import EncodeStream
from munjang_server.vector_cache import VectorCache
from munjang_server.visits import Visits
from munjang_server.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from munjang.engine.contract import EngineContract
    from munjang.settings import ServerSettings
    from munjang_server.admin import Admin
    from munjang_server.batching.contract import BatcherContract, Encodes
    from munjang_server.security.guard import Guard
    from munjang_server.tracing import Tracing

ENCODE = Rpc(embedding.SERVICE, "Encode")
ENCODE_STREAM = Rpc(embedding.SERVICE, "EncodeStream")
SIMILARITY = Rpc(embedding.SERVICE, "Similarity")
LIST_VERSIONS = Rpc(models.SERVICE, "ListVersions")
GET_VERSION = Rpc(models.SERVICE, "GetVersion")
PROMOTE_VERSION = Rpc(models.SERVICE, "PromoteVersion", Permission.ADMIN)
ROLLBACK_ALIAS = Rpc(models.SERVICE, "RollbackAlias", Permission.ADMIN)
SUBMIT_JOB = Rpc(jobs.SERVICE, "SubmitJob", Permission.ADMIN)
CANCEL_JOB = Rpc(jobs.SERVICE, "CancelJob", Permission.ADMIN)
GET_JOB = Rpc(jobs.SERVICE, "GetJob")
LIST_JOBS = Rpc(jobs.SERVICE, "ListJobs")
WATCH_JOB = Rpc(jobs.SERVICE, "WatchJob")
ENCODING_RPCS = (ENCODE, ENCODE_STREAM, SIMILARITY)
JOB_RPCS = (SUBMIT_JOB, GET_JOB, LIST_JOBS, CANCEL_JOB, WATCH_JOB)
RPCS = (*ENCODING_RPCS, LIST_VERSIONS, GET_VERSION, PROMOTE_VERSION, ROLLBACK_ALIAS, *JOB_RPCS)

TRANSPORT_SLACK = 4
"""The transport takes messages so many times over the limit, so that the refusal is ours and says what to do."""

MEGABYTE = 1024 * 1024

KEEPALIVE = (
    ("grpc.so_reuseport", 0),  # a port that is taken shall be an error
    ("grpc.keepalive_time_ms", 60_000),  # find clients that vanished without a word
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # let clients do the same
    ("grpc.keepalive_permit_without_calls", 1),
)

log = structlog.get_logger("munjang.server")


class Front:
    """One gRPC server with all services. Make it on the event loop that shall serve it.

    Args:
        settings: how it listens and what it accepts.
        engine: the resident versions.
        batcher: encodes.
        guard: who may call.
        registry: where its metrics are registered.
        admin: moves aliases; without it those methods are not served.
        why_not_ready: says in words what the engine waits for; "" where it can answer.
        tracing: where traces go, or None.
    """

    def __init__(
        self,
        settings: ServerSettings,
        engine: EngineContract,
        batcher: BatcherContract,
        *,
        guard: Guard,
        registry: CollectorRegistry,
        admin: Admin | None = None,
        why_not_ready: Callable[[], str] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._batcher = batcher
        self._why_not_ready = why_not_ready or (lambda: "" if engine.ready else "no version is ready yet")
        self.metrics = CallMetrics(registry, [rpc.name for rpc in RPCS])
        visits = Visits(
            self.metrics, slow=settings.slow_seconds, log_all=settings.log_level == "debug", tracing=tracing
        )
        self.gate = Gate(guard, visits, default_deadline=settings.default_deadline_seconds)
        self.health = Health([embedding.SERVICE, models.SERVICE], self._why_not, lambda: self._batcher.healthy)
        self._cache = VectorCache(settings.embedding_cache_mb * MEGABYTE)
        self._cache_metrics = CacheMetrics(registry, self._cache)
        self._workers = Workers(settings.tokenize_threads)
        self._server = grpc.aio.server(options=_options(settings))
        self._add_services(admin)
        self._following: asyncio.Task[None] | None = None

    def expect(self, version: int) -> None:
        """Let the metrics of a new version begin at zero."""
        self.metrics.expect(version, [rpc.name for rpc in ENCODING_RPCS])

    def forget(self, version: int) -> None:
        """Give up what is kept of a version that was unloaded."""
        self._cache.drop(version)

    def listen(self, credentials: grpc.ServerCredentials | None) -> int:
        """Take the port; returns its number.

        Raises:
            ConfigurationError: it cannot be had.
        """
        settings = self._settings
        check_address(settings.host, settings.port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.port}"
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            msg = f"cannot listen on {address}: it is taken, or the certificate is not valid"
            raise ConfigurationError(msg, field="port") from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()
        self._following = asyncio.create_task(self.health.follow())

    async def stop(self, seconds: float) -> bool:
        """Take no new calls, and let those in flight finish; whether all did within `seconds`. May be called again."""
        self.health.drain()
        self.health.end()
        stopping = asyncio.create_task(self._server.stop(seconds))
        try:
            await asyncio.wait_for(self.gate.drained(), seconds)
        except TimeoutError:
            in_time = False
        else:
            in_time = True
        await stopping  # once only: a second stop beside the first can crash inside gRPC
        if self._following is not None:
            self._following.cancel()
        await asyncio.to_thread(self._workers.close)
        return in_time

    def _why_not(self) -> str:
        if not self._batcher.healthy:
            return "the engine is stuck or failing"
        return self._why_not_ready()

    def _add_services(self, admin: Admin | None) -> None:
        gate, settings = self.gate, self._settings
        encodes: Encodes = self._batcher
        if settings.embedding_cache_mb:
            encodes = Recall(encodes, self._cache, self._cache_metrics)
        encoding = Encoding(self._engine, encodes, self._workers, self.metrics, settings)
        encode = Encode(encoding)
        listing = Models(self._engine, settings.max_message_bytes)
        unary: dict[Rpc, Callable[..., Any]] = {
            ENCODE: encode,
            SIMILARITY: Similarity(encoding),
            LIST_VERSIONS: listing.list_versions,
            GET_VERSION: listing.get_version,
        }
        queue = Jobs(settings.redis_url, gate.draining, settings.max_message_bytes)
        unary |= {
            SUBMIT_JOB: queue.submit_job,
            GET_JOB: queue.get_job,
            LIST_JOBS: queue.list_jobs,
            CANCEL_JOB: queue.cancel_job,
        }
        if admin is not None:
            unary |= {PROMOTE_VERSION: admin.promote, ROLLBACK_ALIAS: admin.rollback}
        handlers = {rpc: gate.unary(rpc, handler) for rpc, handler in unary.items()}
        handlers[ENCODE_STREAM] = gate.stream(ENCODE_STREAM, EncodeStream(encode, gate, settings))
        handlers[WATCH_JOB] = gate.stream(WATCH_JOB, queue.watch_job)
        services = sorted({rpc.service for rpc in handlers})
        for service in services:
            own = {rpc.name: handler for rpc, handler in handlers.items() if rpc.service == service}
            self._server.add_registered_method_handlers(service, own)  # type: ignore[attr-defined]  # newer than stubs
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if settings.reflection:
            names = [*services, health.SERVICE, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self._server)


def check_address(host: str, port: int) -> None:
    """Try to listen there, for the sake of a clear message.

    Raises:
        ConfigurationError: the port is taken, or the host is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(msg, field="port") from error


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    options = [
        *KEEPALIVE,
        ("grpc.max_receive_message_length", TRANSPORT_SLACK * settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
    ]
    if settings.max_connection_age_seconds:
        options.append(("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)))
    return options
