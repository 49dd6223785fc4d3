"""Every call that this server answers, put together once; each door offers the same handlers in its own way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory

from munjang.v1 import embedding_service_pb2, job_service_pb2, model_service_pb2, rerank_service_pb2
from munjang_server.embedding_cache import CachedEncoder, CacheMetrics, VectorCache
from munjang_server.metrics import RequestMetrics
from munjang_server.rpc import embedding_service, model_service, rerank_service
from munjang_server.rpc.calls import Calls, Door, Rpc
from munjang_server.rpc.embedding_service import Encode, EncodeStream, Similarity
from munjang_server.rpc.encode_pipeline import EncodePipeline
from munjang_server.rpc.health_service import HealthService
from munjang_server.rpc.job_service import JobService
from munjang_server.rpc.model_service import ModelService
from munjang_server.rpc.request_parsing import Parser
from munjang_server.rpc.rerank_service import Rerank
from munjang_server.security.authentication import Permission
from munjang_server.tokenizer_pool import TokenizerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message
    from prometheus_client import CollectorRegistry

    from munjang.engine.contract import EngineContract
    from munjang.settings import ServerSettings
    from munjang_server.rpc.calls import Call, Tracer
    from munjang_server.rpc.interceptor import StreamHandler, UnaryHandler
    from munjang_server.rpc.model_service import AliasAdmin
    from munjang_server.scheduling.api import Encodes, SchedulerContract
    from munjang_server.security.authentication import Authenticator

ADMIN_METHODS = frozenset({"PromoteVersion", "RollbackAlias", "SubmitJob", "CancelJob"})
ENCODING_METHODS = ("Encode", "EncodeStream", "Similarity", "Rerank")
SERVICES = (
    embedding_service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"],
    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
    rerank_service_pb2.DESCRIPTOR.services_by_name["RerankService"],
)
"""The methods that are served are those that have a handler, see `Services`."""

TOKENIZE = Rpc("munjang.http", "Tokenize")
METRICS = Rpc("munjang.http", "Metrics")
"""Calls that only HTTP has."""

RPCS = {
    method.name: Rpc(
        service.full_name, method.name, Permission.ADMIN if method.name in ADMIN_METHODS else Permission.CALL
    )
    for service in SERVICES
    for method in service.methods
}
"""The methods by their names, which are all different."""

MEGABYTE = 1024 * 1024


class Services:
    """All handlers and what they share. Create it on the event loop that should serve it.

    Args:
        settings: what is accepted.
        engine: the resident versions.
        scheduler: encodes.
        authenticator: identifies callers.
        registry: where the metrics are registered.
        admin: moves aliases; without it those methods are not served.
        registry_id: the id of the registry that the versions come from; "" while it is not known.
        not_ready_reason: says in words what the engine waits for; "" if it can answer.
        tracer: called when a call has ended, or None.

    Attributes:
        calls: begins and ends the calls of all doors.
        health: whether this server can answer.
        unary: handlers of a request's bytes, by method.
        streams: handlers of streams, by method.
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
        self.settings = settings
        self.engine = engine
        self.scheduler = scheduler
        self._engine_not_ready_reason = not_ready_reason or (lambda: "" if engine.ready else "no version is ready yet")
        self.registry = registry
        self._metrics = RequestMetrics(registry, {Door.GRPC: RPCS, Door.HTTP: (*RPCS, TOKENIZE.name, METRICS.name)})
        self.calls = Calls(
            authenticator,
            self._metrics,
            slow=settings.slow_seconds,
            log_all=settings.log_level == "debug",
            tracer=tracer,
        )
        names = [embedding_service.SERVICE, model_service.SERVICE, rerank_service.SERVICE]
        self.health = HealthService(names, self._not_ready_reason, self._alive)
        self._cache = VectorCache(settings.embedding_cache_mb * MEGABYTE)
        cache_metrics = CacheMetrics(registry, self._cache)
        self._pool = TokenizerPool(settings.tokenize_threads)
        encodes: Encodes = scheduler
        if settings.embedding_cache_mb:
            encodes = CachedEncoder(scheduler, self._cache, cache_metrics)
        self.pipeline = EncodePipeline(engine, encodes, self._pool, self._metrics, settings)
        self.encode = Encode(self.pipeline)
        self.similarity = Similarity(self.pipeline)
        self.rerank = Rerank(self.pipeline)
        self.models = ModelService(engine, registry_id)
        self.unary: dict[Rpc, UnaryHandler] = {}
        self.streams: dict[Rpc, StreamHandler] = {}
        self._add_handlers(admin)
        self._health_poll: asyncio.Task[None] | None = None

    def expect(self, version: int) -> None:
        """Start the metrics of a new version at zero."""
        self._metrics.expect(version, ENCODING_METHODS)

    def forget(self, version: int) -> None:
        """Drop what is cached of a version that was unloaded."""
        self._cache.drop(version)

    def start(self) -> None:
        """Begin to follow the engine's health, on the running event loop."""
        self._health_poll = asyncio.create_task(self.health.poll())

    async def drained(self, seconds: float) -> bool:
        """Report NOT_SERVING, ask streams to end, wait for the calls in flight; whether all ended within `seconds`."""
        self.health.drain()
        self.health.end()
        try:
            await asyncio.wait_for(self.calls.drained(), seconds)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End what runs beside the calls. May be called again."""
        if self._health_poll is not None:
            self._health_poll.cancel()
        await asyncio.to_thread(self._pool.close)

    def _alive(self) -> bool:
        return self.scheduler.healthy

    def _not_ready_reason(self) -> str:
        return self._engine_not_ready_reason() if self.scheduler.healthy else "the engine is stuck or failing"

    def _add_handlers(self, admin: AliasAdmin | None) -> None:
        settings, models = self.settings, self.models
        jobs = JobService(settings.redis_url, self.calls.draining, settings.max_message_bytes)
        of_bytes: dict[str, UnaryHandler] = {
            "Encode": self.encode,
            "Similarity": self.similarity,
            "Rerank": self.rerank,
        }
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
        streams: dict[str, StreamHandler] = {
            "EncodeStream": EncodeStream(self.encode, self.calls, settings),
            "WatchJob": jobs.watch_job,
        }
        for service in SERVICES:
            for method in service.methods:
                name = method.name
                rpc = RPCS[name]
                if name in of_messages:
                    parser = Parser(message_factory.GetMessageClass(method.input_type), settings.max_message_bytes)
                    self.unary[rpc] = parsed(parser, of_messages[name])
                elif name in of_bytes:
                    self.unary[rpc] = of_bytes[name]
                elif name in streams:
                    self.streams[rpc] = streams[name]


def parsed(
    parser: Parser[Any], handler: Callable[[Any, Call], Awaitable[Message]]
) -> Callable[[bytes, Call], Awaitable[bytes]]:
    """A handler of bytes from one of messages."""

    async def handle(raw: bytes, call: Call) -> bytes:
        return (await handler(parser.parse(raw), call)).SerializeToString()

    return handle
