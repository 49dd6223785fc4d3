"""The RQ worker: one process for all jobs, so a model stays loaded from job to job.

It adds what RQ's SimpleWorker lacks: heartbeats while a step runs; short leases and frequent maintenance, so that the
steps of a dead worker are soon taken over; a clean stop between two batches; and no trust in the data in Redis.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import JobStatus
from rq.registry import (
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ReadyJobRegistry,
    StartedJobRegistry,
)
from rq.serializers import DefaultSerializer
from rq.utils import now as utc_now
from rq.worker import WorkerStatus
from rq.worker_registration import clean_worker_registry

from munjang.bulk import QUEUE
from munjang.bulk.job import JobSpec, JobState
from munjang.bulk.serializer import PlainJson, loads
from munjang.errors import MunjangError
from munjang_worker.connection import redis_time
from munjang_worker.heartbeat import Heartbeat, StepTimeLimit, set_lease_end
from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.jobs import JobFailed, Unfinished
from munjang_worker.rq_queue import BulkJob, BulkQueue

if TYPE_CHECKING:
    from rq.executions import Execution

    from munjang_worker.runtime import Runtime

log = structlog.get_logger("munjang.worker")

IDLE_SECONDS = 5
"""How long one wait for a job takes; between two waits there are a heartbeat and maintenance."""

_NOT_OVER = {status.value for status in (JobStatus.DEFERRED, JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.STARTED)}

_REGISTRIES = (StartedJobRegistry, FailedJobRegistry, FinishedJobRegistry, DeferredJobRegistry, ReadyJobRegistry)


class BulkWorker(SimpleWorker):  # type: ignore[misc] # rq is not followed by mypy
    """Works on the queue of bulk jobs, one step at a time."""

    job_class = BulkJob
    queue_class = BulkQueue
    death_penalty_class = StepTimeLimit

    def __init__(self, runtime: Runtime, brief_connection: Any) -> None:
        """Prepare to work.

        Args:
            runtime: this process's, installed already.
            brief_connection: for heartbeats, apart from the runtime's.
        """
        DefaultSerializer.loads = staticmethod(loads)  # so that no forgotten path of RQ unpickles in this process
        self.runtime = runtime
        self._brief_connection = brief_connection
        self._lost: set[str] = set()
        settings = runtime.settings
        super().__init__(
            [QUEUE],
            name=runtime.name,
            connection=runtime.connection,
            default_result_ttl=settings.keep_seconds,
            maintenance_interval=settings.maintenance_seconds,
            worker_ttl=settings.lease_seconds,
            job_class=BulkJob,
            queue_class=BulkQueue,
            serializer=PlainJson,
        )

    @property
    def dequeue_timeout(self) -> int:
        """Seconds that an idle worker waits for a job at a time."""
        return min(IDLE_SECONDS, self.runtime.settings.maintenance_seconds)

    def get_heartbeat_ttl(self, job: BulkJob, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        """Seconds after which a silent worker's step is given to another."""
        return int(self.runtime.settings.lease_seconds)

    def execute_job(self, job: BulkJob, queue: BulkQueue) -> None:
        """Work on one step in this process, with heartbeats beside it."""
        self.runtime.interrupts.clear()
        execution: Execution = self.prepare_execution(job)
        end = redis_time(self.connection) + self.runtime.settings.lease_seconds
        set_lease_end(self.connection, job.started_job_registry, execution, end)
        with Heartbeat(self.runtime, self, job, execution, self._brief_connection):
            self.perform_job(job, queue, execution)
        self._end_waiting(queue, job.bulk_job())
        self.set_state(WorkerStatus.IDLE)
        if self.runtime.broken:
            log.error("the model is broken; this process ends, and another begins")
            self._stop_requested = True

    def _finalize_success(self, job: BulkJob, queue: BulkQueue, execution: Execution, return_value: Any) -> None:
        """Let RQ end the job that it ran, unless its work goes on: then it is deferred until that has ended."""
        if not isinstance(return_value, Unfinished):
            super()._finalize_success(job, queue, execution, return_value)
            self.runtime.jobs.forget_waiting(job.id)  # it may run again: RQ repeats jobs
            return
        with self.connection.pipeline() as pipe:
            job.set_status(JobStatus.DEFERRED, pipeline=pipe)
            queue.deferred_job_registry.add(job, pipeline=pipe)
            self.runtime.jobs.wait(pipe, job.id, return_value.job_id)
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.execute()

    def _end_waiting(self, queue: BulkQueue, job_id: str = "") -> None:
        """End the RQ jobs whose job, `job_id` or any, runs no more."""
        records, keep = self.runtime.jobs, self.runtime.settings.keep_seconds
        if job_id and records.state(job_id) is JobState.RUNNING:
            return
        for rq_id, state, status in records.waiting(job_id):
            if status not in _NOT_OVER:
                records.forget_waiting(rq_id)
            elif state is not JobState.RUNNING:
                queue.resume_deferred(rq_id, cancel=state is JobState.CANCELLED, keep_seconds=keep)

    def kill_horse(self, sig: signal.Signals = signal.SIGTERM) -> None:  # noqa: ARG002 - RQ's signature
        """Stop the current step, as RQ's `stop-job` command asks."""
        self.runtime.interrupts.set(Reason.STOPPED)

    def request_stop(self, signum: int, frame: Any) -> None:  # noqa: ARG002 - a signal handler's signature
        """Stop at the next batch, or at once if the worker is idle; a second signal ends the process.

        RQ's own would leave an idle worker's loop by an exception, which can lose the job that just came.
        """
        self.runtime.interrupts.set(Reason.SHUTDOWN)
        self._stop_requested = True
        self._shutdown_requested_date = utc_now()
        signal.signal(signal.SIGINT, self.request_force_stop)
        signal.signal(signal.SIGTERM, self.request_force_stop)
        if self.get_state() != WorkerStatus.BUSY and self.runtime.blocked:
            with suppress(RedisError):  # then the waiting times out soon
                self._brief_connection.client_unblock(self.runtime.blocked)

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Whether maintenance is due. RQ asks before it waits for a job: a worker that should stop stops here."""
        if self.runtime.orphaned:
            log.warning("the parent process is gone; this one ends")
            self.runtime.interrupts.set(Reason.SHUTDOWN)
        if self._stop_requested or self.runtime.interrupts.stopping:
            raise StopRequested
        return bool(super().should_run_maintenance_tasks)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Report that this worker is alive; without Redis, a worker that should stop stops here."""
        try:
            super().heartbeat(timeout, pipeline)
        except RedisError:
            if self._stop_requested:
                raise StopRequested from None
            raise

    def handle_exception(self, job: BulkJob, *exc_info: Any) -> None:
        """Log why a step failed; an error of munjang needs no traceback, what was logged before no second line."""
        error = exc_info[1]
        if isinstance(error, Interrupted | JobFailed):
            return
        if isinstance(error, MunjangError):
            log.error("step failed", rq=job.id, error=str(error), reason=error.reason, attempts_left=job.retries_left)
        else:
            log.error("step failed", rq=job.id, attempts_left=job.retries_left, exc_info=exc_info)

    def clean_registries(self) -> None:
        """Take over the steps of dead workers, queue those whose time has come, and resume jobs that lost steps."""
        for queue in self.queues:
            if queue.acquire_maintenance_lock():
                now = redis_time(self.connection)
                for registry in _REGISTRIES:
                    registry(
                        queue.name, connection=self.connection, job_class=self.job_class, serializer=self.serializer
                    ).cleanup(now)
                clean_worker_registry(queue)
                queue.intermediate_queue.cleanup(self, queue)
                queue.enqueue_due(now)
                self._resume_lost_jobs()
                self._end_waiting(queue)
                queue.release_maintenance_lock()
        self.last_cleaned_at = utc_now()

    def clean_group_registries(self) -> None:
        """Do nothing: bulk jobs have no groups."""

    def unsubscribe(self) -> None:
        """Stop listening to commands. RQ's own order of these calls waits a second for the listener."""
        if self.pubsub_thread:
            self.pubsub_thread.stop()
            self.pubsub.unsubscribe()
            self.pubsub_thread.join(timeout=1)
            self.pubsub.close()

    def teardown(self) -> None:
        """Unregister the worker, if Redis can be reached."""
        try:
            super().teardown()
        except RedisError as error:
            log.warning("could not unregister; the worker's entry in Redis expires by itself", error=str(error))

    def _resume_lost_jobs(self) -> None:
        """Resume running jobs of which no step waits or runs, seen twice in a row: Redis lost its last writes."""
        running = self.runtime.jobs.running_jobs()
        lost = self.runtime.steps.lost(running) if running else set()
        for job_id in lost & self._lost:
            log.warning("a running job had no steps left in the queue, and is resumed", job=job_id)
            self.runtime.jobs.take_over(job_id, job_id)
            spec = JobSpec.model_validate_json(self.runtime.jobs.spec_json(job_id))
            self.runtime.steps.enqueue_plan(spec, job_id)
        self._lost = lost - self._lost


RQ_OVERRIDES: dict[type, tuple[str, ...]] = {
    BulkJob: (
        *("_execute", "_handle_failure", "failure_callback", "func", "get_retry_interval", "restore", "retry"),
        *("stopped_callback", "success_callback"),
    ),
    BulkQueue: ("acquire_maintenance_lock", "lmove"),
    BulkWorker: (
        *("clean_group_registries", "clean_registries", "dequeue_timeout", "execute_job", "get_heartbeat_ttl"),
        *(
            "_finalize_success",
            "handle_exception",
            "heartbeat",
            "kill_horse",
            "request_stop",
            "should_run_maintenance_tasks",
            "teardown",
        ),
        "unsubscribe",
    ),
    StepTimeLimit: ("handle_death_penalty",),
}
"""What is overridden of RQ. Most of it is private, and a release of RQ may change it: a test fails when one does."""

RQ_DEPENDENCIES: dict[type, tuple[str, ...]] = {
    BulkJob: ("cancel", "perform", "should_enqueue_at_front"),
    BulkQueue: ("_enqueue_job", "dequeue_any"),
    BulkWorker: (
        *("cleanup_execution", "dequeue_job_and_maintain_ttl", "handle_job_failure", "perform_job"),
        *("prepare_execution", "run_maintenance_tasks", "work"),
    ),
    StartedJobRegistry: ("cleanup",),
}
"""Methods of RQ, not overridden, that must call the overrides when and as they do now."""
