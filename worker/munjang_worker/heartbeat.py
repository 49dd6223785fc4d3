"""Runs beside a step: the heartbeat, which renews the lease and reports progress, and the time limit.

Leases end by Redis's clock. RQ writes them by each worker's own clock: the step of a dead worker whose clock was an
hour ahead would then wait for an hour, and a worker whose clock is behind would lose the steps that it works on.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import structlog
from redis.exceptions import RedisError
from rq import worker_registration
from rq.timeouts import UnixSignalDeathPenalty

from munjang.bulk.job import JobState
from munjang_worker.connection import redis_time
from munjang_worker.interrupts import Reason
from munjang_worker.job_store import JobStore
from munjang_worker.runtime import current

if TYPE_CHECKING:
    from rq import SimpleWorker
    from rq.executions import Execution
    from rq.job import Job
    from rq.registry import StartedJobRegistry

    from munjang_worker.runtime import Runtime

log = structlog.get_logger("munjang.worker")

REPORT_SECONDS = 1.0
"""The longest interval between progress reports and checks for cancellation."""


class Heartbeat:
    """Sends heartbeats while one RQ job runs. Uses its own connection, whose failures it survives."""

    def __init__(self, runtime: Runtime, worker: SimpleWorker, job: Job, execution: Execution, connection: Any) -> None:
        self._runtime = runtime
        self._worker = worker
        self._job = job
        self._execution = execution
        self._redis = connection
        self._jobs = JobStore(connection, runtime.settings.keep_seconds)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start the heartbeats."""
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
        while not self._ended.wait(min(REPORT_SECONDS, interval)):
            try:
                if time.monotonic() >= due:
                    self._renew_lease()
                    due = time.monotonic() + interval
                self._report()
            except RedisError as error:
                log.warning("a heartbeat did not reach Redis", error=str(error))
            if self._runtime.orphaned:
                self._runtime.interrupts.set(Reason.SHUTDOWN)

    def _renew_lease(self) -> None:
        """Renew what would otherwise expire, even if Redis has lost it."""
        lease, registry = self._runtime.settings.lease_seconds, self._job.started_job_registry
        end = redis_time(self._redis) + lease
        with self._redis.pipeline() as pipe:
            self._worker.heartbeat(lease, pipeline=pipe)
            pipe.hset(self._worker.key, mapping=self._worker.serialize())
            worker_registration.register(self._worker, pipe)
            self._execution.heartbeat(registry, lease, pipeline=pipe)
            set_lease_end(pipe, registry, self._execution, end)
            pipe.execute()
        self._runtime.metrics.heartbeat.set_to_current_time()

    def _report(self) -> None:
        activity = self._runtime.activity
        job_id, shard, progress = activity.job_id, activity.shard, activity.progress
        if not job_id:
            return
        state = self._jobs.state(job_id)
        if state is not None and state is not JobState.RUNNING:
            self._runtime.interrupts.set(Reason.ENDED)
            self._jobs.mirror(job_id)
            return
        if shard >= 0 and progress is not None:
            self._jobs.shard_running(job_id, shard, progress)
            self._jobs.write_rq_meta(self._job.id, {"job": job_id, "shard": shard, "rows_done": progress.rows})
            self._jobs.mirror(job_id)


class StepTimeLimit(UnixSignalDeathPenalty):  # type: ignore[misc] # rq is not followed by mypy
    """RQ's alarm, which the step also notices at its next batch.

    An exception out of a signal handler can be lost: in a library that catches everything, or in a destructor.
    """

    def handle_death_penalty(self, signum: int, frame: Any) -> None:
        """Raise the time-out."""
        current().interrupts.set(Reason.EXPIRED)
        super().handle_death_penalty(signum, frame)


def set_lease_end(connection: Any, registry: StartedJobRegistry, execution: Execution, end: float) -> None:
    """Set the end of a running step's lease to `end`; a lease that another worker has taken is not changed."""
    connection.zadd(registry.key, {execution.composite_key: end}, xx=True)
