"""The gRPC server: which services it has, how it listens, how it stops. Gets the scheduler and the engine."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from munjang.errors import ConfigurationError
from munjang.v1 import embedding_service_pb2, job_service_pb2, model_service_pb2
from munjang_server.embedding_cache import CachedEncoder, CacheMetrics, VectorCache
from munjang_server.metrics import RequestMetrics
from munjang_server.rpc import embedding_service, health_service, model_service
from munjang_server.rpc.embedding_service import Encode, EncodeStream, Similarity
from munjang_server.rpc.encode_pipeline import EncodePipeline
from munjang_server.rpc.health_service import HealthService
from munjang_server.rpc.interceptor import Interceptor, Rpc
from munjang_server.rpc.job_service import JobService
from munjang_server.rpc.model_service import ModelService
from munjang_server.rpc.request_parsing import Parser
from munjang_server.security.authentication import Permission
from munjang_server.tokenizer_pool import TokenizerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message
    from prometheus_client import CollectorRegistry

    from munjang.engine.contract import EngineContract
    from munjang.settings import ServerSettings
    from munjang_server.rpc.interceptor import Call, Tracer
    from munjang_server.rpc.model_service import AliasAdmin
    from munjang_server.scheduling.api import Encodes, SchedulerContract
    from munjang_server.security.authentication import Authenticator

ADMIN_METHODS = frozenset({"PromoteVersion", "RollbackAlias", "SubmitJob", "CancelJob"})
ENCODING_METHODS = ("Encode", "EncodeStream", "Similarity")
SERVICES = (
    embedding_service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"],
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
)
"""The methods that are served are those that have a handler, see `GrpcServer`."""

TRANSPORT_SLACK = 4
"""The transport accepts messages this many times over the limit: the server itself refuses them, with advice."""

MEGABYTE = 1024 * 1024

KEEPALIVE = (
    ("grpc.so_reuseport", 0),  # a port that is taken should be an error
    ("grpc.keepalive_time_ms", 60_000),  # find clients that vanished without a word
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # let clients do the same
    ("grpc.keepalive_permit_without_calls", 1),
)


class GrpcServer:
    """One gRPC server with all services. Create it on the event loop that should serve it.

    Args:
        settings: how it listens and what it accepts.
        engine: the resident versions.
        scheduler: encodes.
        authenticator: identifies callers.
        registry: where its metrics are registered.
        admin: moves aliases; without it those methods are not served.
        registry_id: the id of the registry that the versions come from; "" while it is not known.
        not_ready_reason: says in words what the engine waits for; "" if it can answer.
        tracer: called when a call has ended, or None.
    """

    def __init__(
        self,
        settings: ServerSettings,
        engine: EngineContract,
        scheduler: SchedulerContract,
        *,
        authenticator: Authenticator,
        registry: CollectorRegistry,
        admin: AliasAdmin | None = None,
        registry_id: Callable[[], str] = str,
        not_ready_reason: Callable[[], str] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._scheduler = scheduler
        self._engine_not_ready_reason = not_ready_reason or (lambda: "" if engine.ready else "no version is ready yet")
        self._metrics = RequestMetrics(registry, [method.name for service in SERVICES for method in service.methods])
        self.interceptor = Interceptor(
            authenticator,
            self._metrics,
            default_deadline=settings.default_deadline_seconds,
            slow=settings.slow_seconds,
            log_all=settings.log_level == "debug",
            tracer=tracer,
        )
        services = [embedding_service.SERVICE, model_service.SERVICE]
        self.health = HealthService(services, self._not_ready_reason, lambda: self._scheduler.healthy)
        self._cache = VectorCache(settings.embedding_cache_mb * MEGABYTE)
        self._cache_metrics = CacheMetrics(registry, self._cache)
        self._pool = TokenizerPool(settings.tokenize_threads)
        self._server = grpc.aio.server(options=_options(settings))
        self._add_services(admin, registry_id)
        self._health_poll: asyncio.Task[None] | None = None

    def expect(self, version: int) -> None:
        """Start the metrics of a new version at zero."""
        self._metrics.expect(version, ENCODING_METHODS)

    def forget(self, version: int) -> None:
        """Drop what is cached of a version that was unloaded."""
        self._cache.drop(version)

    def listen(self, credentials: grpc.ServerCredentials | None) -> int:
        """Bind the port; returns its number.

        Raises:
            ConfigurationError: it cannot be used.
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
        self._health_poll = asyncio.create_task(self.health.poll())

    async def stop(self, seconds: float) -> bool:
        """Take no new calls, and let those in flight finish; whether all did within `seconds`. May be called again."""
        self.health.drain()
        self.health.end()
        stopping = asyncio.create_task(self._server.stop(seconds))
        try:
            await asyncio.wait_for(self.interceptor.drained(), seconds)
        except TimeoutError:
            in_time = False
        else:
            in_time = True
        await stopping  # once only: a second stop beside the first can crash inside gRPC
        if self._health_poll is not None:
            self._health_poll.cancel()
        await asyncio.to_thread(self._pool.close)
        return in_time

    def _not_ready_reason(self) -> str:
        return self._engine_not_ready_reason() if self._scheduler.healthy else "the engine is stuck or failing"

    def _add_services(self, admin: AliasAdmin | None, registry_id: Callable[[], str]) -> None:
        interceptor, settings = self.interceptor, self._settings
        scheduler: Encodes = self._scheduler
        if settings.embedding_cache_mb:
            scheduler = CachedEncoder(scheduler, self._cache, self._cache_metrics)
        pipeline = EncodePipeline(self._engine, scheduler, self._pool, self._metrics, settings)
        encode = Encode(pipeline)
        models = ModelService(self._engine, registry_id)
        jobs = JobService(settings.redis_url, interceptor.draining, settings.max_message_bytes)
        of_bytes: dict[str, Callable[..., Any]] = {"Encode": encode, "Similarity": Similarity(pipeline)}
        of_messages: dict[str, Callable[..., Any]] = {
            "ListVersions": models.list_versions,
            "GetVersion": models.get_version,
            "SubmitJob": jobs.submit_job,
            "GetJob": jobs.get_job,
            "ListJobs": jobs.list_jobs,
            "CancelJob": jobs.cancel_job,
        }
        if admin is not None:
            of_messages |= {"PromoteVersion": admin.promote, "RollbackAlias": admin.rollback}
        streams: dict[str, Callable[..., Any]] = {
            "EncodeStream": EncodeStream(encode, interceptor, settings),
            "WatchJob": jobs.watch_job,
        }
        for service in SERVICES:
            handlers = {}
            for method in service.methods:
                name = method.name
                permission = Permission.ADMIN if name in ADMIN_METHODS else Permission.CALL
                rpc = Rpc(service.full_name, name, permission)
                if name in of_messages:
                    parser = Parser(message_factory.GetMessageClass(method.input_type), settings.max_message_bytes)
                    handlers[name] = interceptor.unary(rpc, parsed(parser, of_messages[name]))
                elif name in of_bytes:
                    handlers[name] = interceptor.unary(rpc, of_bytes[name])
                elif name in streams:
                    handlers[name] = interceptor.stream(rpc, streams[name])
            self._server.add_registered_method_handlers(service.full_name, handlers)  # type: ignore[attr-defined]  # newer than stubs
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if settings.reflection:
            names = [*(service.full_name for service in SERVICES), health_service.SERVICE, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self._server)


def parsed(
    parser: Parser[Any], handler: Callable[[Any, Call], Awaitable[Message]]
) -> Callable[[bytes, Call], Awaitable[bytes]]:
    """A handler of bytes from one of messages."""

    async def handle(raw: bytes, call: Call) -> bytes:
        return (await handler(parser.parse(raw), call)).SerializeToString()

    return handle


def check_address(host: str, port: int) -> None:
    """Try to listen there, to fail with a clear message.

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
