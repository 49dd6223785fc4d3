"""One worker process from start to end: read settings, connect, build the runtime, work until a signal."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import start_http_server
from redis.exceptions import RedisError

from munjang.bulk import QUEUE
from munjang.errors import ConfigurationError
from munjang.registry import Registry
from munjang.settings import unknown_variables
from munjang.telemetry import setup_logging
from munjang_worker.connection import check_server, connect_with_retries, connect_without_retries
from munjang_worker.interrupts import Interrupts
from munjang_worker.job_store import JobStore
from munjang_worker.metrics import Metrics
from munjang_worker.plan_job import model_digest
from munjang_worker.rq_queue import BulkQueue
from munjang_worker.rq_worker import BulkWorker
from munjang_worker.runtime import ModelCache, Runtime, install
from munjang_worker.step_queue import StepQueue
from munjang_worker.storage import split_roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.encoder.contract import Encoder
    from munjang.settings import WorkerSettings

log = structlog.get_logger("munjang.worker")


def run_process(settings: WorkerSettings, index: int = 0, parent: int = 0) -> bool:
    """Work until SIGTERM or SIGINT; whether it ended by one, or else because something broke.

    Args:
        settings: the worker's.
        index: which of this machine's processes it is; its metrics port is as much above the first.
        parent: the process that this one must not outlive; 0 if there is none.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    setup_logging(settings)
    runtime = make_runtime(settings, parent)
    if settings.worker_metrics_port:
        _serve_metrics(runtime.metrics, settings, index)
    check_server(runtime.connection)
    if not parent:
        for line in unknown_variables():
            log.warning(line)
    worker = BulkWorker(runtime, connect_without_retries(settings.redis_url))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.request_stop)
    log.info("worker ready", worker=runtime.name, queue=QUEUE, registry=runtime.registry.url)
    try:
        worker.work(logging_level="WARNING")
    except RedisError:
        if not runtime.interrupts.stopping:
            raise
    log.info("worker ended", worker=runtime.name)
    return runtime.interrupts.stopping


def make_runtime(settings: WorkerSettings, parent: int = 0) -> Runtime:
    """Assemble a process's runtime and install it; waits for Redis."""
    interrupts = Interrupts()
    connection = connect_with_retries(settings.redis_url, lambda: interrupts.stopping)
    metrics = Metrics()
    registry = Registry(settings.registry_url)
    queue = BulkQueue(QUEUE, connection=connection)
    runtime = Runtime(
        name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        settings=settings,
        connection=connection,
        registry=registry,
        models=ModelCache(
            _loader(registry, settings), lambda version: model_digest(registry.manifest(version)), metrics
        ),
        jobs=JobStore(connection, settings.keep_seconds),
        steps=StepQueue(queue, settings.keep_seconds),
        metrics=metrics,
        interrupts=interrupts,
        parent=parent,
    )
    install(runtime)
    metrics.watch_queue(_depth(queue, connect_without_retries(settings.redis_url)))
    metrics.watch_disks(_disks(registry, settings))
    return runtime


def _depth(queue: BulkQueue, brief: Any) -> Callable[[], tuple[int, int] | None]:
    def depth() -> tuple[int, int] | None:
        try:
            return brief.llen(queue.key), brief.zcard(queue.started_job_registry.key)
        except RedisError:
            return None

    return depth


def _disks(registry: Registry, settings: WorkerSettings) -> dict[str, Path]:
    """The folders that versions and results are kept in; of results only where the settings name their places."""
    disks = {"cache": settings.cache_folder.absolute()}
    if registry.local:
        disks["registry"] = Path(registry.url).absolute()
    roots = [Path(root) for root in split_roots(settings.output_roots) if "://" not in root]
    return disks | {f"output {number}" if number > 1 else "output": root for number, root in enumerate(roots, 1)}


def _loader(registry: Registry, settings: WorkerSettings) -> Callable[[int], Encoder]:
    def load(version: int) -> Encoder:
        from munjang.engine.version_loader import VersionLoader  # noqa: PLC0415 - torch, only when the first shard comes

        return VersionLoader(registry, settings)(version)[1]

    return load


def _serve_metrics(metrics: Metrics, settings: WorkerSettings, number: int) -> None:
    port = settings.worker_metrics_port + number
    try:
        start_http_server(port, addr=settings.worker_metrics_host, registry=metrics.registry)
    except OSError as error:
        msg = f"the metrics page cannot be served on {settings.worker_metrics_host}:{port}: {error}"
        raise ConfigurationError(msg, field="worker_metrics_port") from error
    log.info("metrics", url=f"http://{settings.worker_metrics_host}:{port}/metrics")
