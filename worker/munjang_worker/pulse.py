"""A busy worker's heart-beat, on a thread of its own: keeps the lease, tells of progress, hears of cancellations."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import structlog
from redis.exceptions import RedisError
from rq import worker_registration

from munjang.bulk.job import JobState
from munjang_worker.board import Board
from munjang_worker.interrupts import Reason
from munjang_worker.lease import lease_until, redis_time
from munjang_worker.mirror import mirror, mirror_job

if TYPE_CHECKING:
    from rq.executions import Execution

    from munjang_worker.queue import BulkJob
    from munjang_worker.runtime import Runtime
    from munjang_worker.warm import WarmWorker

log = structlog.get_logger("munjang.worker")

LOOK_SECONDS = 1.0
"""How often progress is told and cancellations are looked for, at the least."""


class Pulse:
    """Beats while one RQ job is being worked on. Uses its own connection, whose failures it survives."""

    def __init__(self, worker: WarmWorker, job: BulkJob, execution: Execution, connection: Any) -> None:
        self._worker = worker
        self._job = job
        self._execution = execution
        self._redis = connection
        self._runtime: Runtime = worker.runtime
        self._board = Board(connection, self._runtime.settings.keep_seconds)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        """Begin to beat."""
        self._runtime.metrics.busy.set(1)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()
        self._runtime.metrics.busy.set(0)

    def _beat(self) -> None:
        interval = self._runtime.settings.heartbeat_seconds
        due = time.monotonic()
        while not self._ended.wait(min(LOOK_SECONDS, interval)):
            try:
                if time.monotonic() >= due:
                    self._keep_lease()
                    due = time.monotonic() + interval
                self._look()
            except RedisError as error:
                log.warning("a heart-beat did not reach Redis", error=str(error))
            if self._runtime.orphaned:
                self._runtime.interrupts.set(Reason.SHUTDOWN)

    def _keep_lease(self) -> None:
        """Renew what would otherwise expire, also where Redis has forgotten it."""
        lease, registry = self._runtime.settings.lease_seconds, self._job.started_job_registry
        end = redis_time(self._redis) + lease
        with self._redis.pipeline() as pipe:
            self._worker.heartbeat(lease, pipeline=pipe)
            pipe.hset(self._worker.key, mapping=self._worker.serialize())
            worker_registration.register(self._worker, pipe)
            self._execution.heartbeat(registry, lease, pipeline=pipe)
            lease_until(pipe, registry, self._execution, end)
            pipe.execute()
        self._runtime.metrics.heartbeat.set_to_current_time()

    def _look(self) -> None:
        activity = self._runtime.activity
        job_id, shard, progress = activity.job_id, activity.shard, activity.progress
        if not job_id:
            return
        state = self._board.state(job_id)
        if state is not None and state is not JobState.RUNNING:
            self._runtime.interrupts.set(Reason.ENDED)
            mirror_job(self._redis, self._board, job_id)
            return
        if shard >= 0 and progress is not None:
            self._board.shard_running(job_id, shard, progress)
            mirror(self._redis, self._job.id, {"job": job_id, "shard": shard, "rows_done": progress.rows})
            mirror_job(self._redis, self._board, job_id)
