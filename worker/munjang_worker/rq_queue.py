"""RQ's queue and job as the worker uses them: plain data only, five functions only, and a failed step ends its job.

An RQ job can come from anyone who can write to Redis. Nothing in it is unpickled into objects, functions are looked up
by name and never imported, callbacks are not run and webhooks are not sent.
"""

from __future__ import annotations

from contextlib import suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.registry import ScheduledJobRegistry
from rq.timeouts import BaseTimeoutException, JobTimeoutException

from munjang.bulk import EMBED_FILE, EMBED_SHARD, FINISH_FILE, FINISH_LOAD, LOAD_SHARD, function_name
from munjang.bulk.job import JobSpec, JobState
from munjang.bulk.serializer import PlainJson, like
from munjang.errors import (
    EngineUnavailable,
    InvalidJob,
    ModelLoadFailed,
    MunjangError,
    QueueUnavailable,
    RegistryUnavailable,
    StoreUnavailable,
    VersionNotFound,
)
from munjang_worker import jobs, runtime
from munjang_worker.connection import redis_time
from munjang_worker.interrupts import Interrupted, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTIONS: dict[str, Callable[..., Any]] = {
    EMBED_FILE: jobs.embed_file,
    EMBED_SHARD: jobs.embed_shard,
    FINISH_FILE: jobs.finish_file,
    LOAD_SHARD: jobs.load_shard,
    FINISH_LOAD: jobs.finish_load,
}
"""All that this worker runs, by their current names."""

MAINTENANCE_SECONDS = 30
"""How long one worker's maintenance keeps others from theirs, if it dies in the middle."""

MESSAGE_CHARS = 500
"""The most characters of a library's message in a job's."""

RETRY_PAUSES = (5, 20, 60)
"""Seconds before a step is tried for the second, third, … time where storage, registry or vector store was away."""

_WORTH_RETRYING = (RegistryUnavailable, QueueUnavailable, ModelLoadFailed, EngineUnavailable, StoreUnavailable)


class BulkJob(Job):  # type: ignore[misc] # rq is not followed by mypy
    """An RQ job that runs one of FUNCTIONS with plain data."""

    failure: BaseException | None = None
    registry_unavailable = False
    timeout: float | None
    retries_left: int | None
    webhooks: list[Any]
    success_callback = failure_callback = stopped_callback = None  # they are functions that Redis names

    def restore(self, raw_data: Any) -> Any:
        """Read what Redis holds, and fill in what the sender left to the worker."""
        super().restore(raw_data)
        self.serializer = like(self.data)
        settings = runtime.current().settings
        if self.timeout in {None, Queue.DEFAULT_TIMEOUT}:  # not chosen by the sender
            self.timeout = settings.step_seconds
        if self.retries_left is None and self.number_of_retries is None:
            self.retries_left = settings.step_attempts - 1
        self.enqueue_at_front_on_retry = True
        self.webhooks = []

    @property
    def func(self) -> Callable[..., Any]:
        """The function to run.

        Raises:
            InvalidJob: not one of FUNCTIONS.
        """
        function = FUNCTIONS.get(function_name(self.func_name))
        if function is None or self.instance is not None:
            known = EMBED_FILE
            msg = f"refused: {str(self.func_name)[:100]!r} is not a function that this worker runs; it runs {known}"
            raise InvalidJob(msg)
        return function

    def get_retry_interval(self) -> int:
        """Seconds before the next try: none if the worker ended, some if what was missing may come back."""
        if self.failure is None or isinstance(self.failure, Interrupted):
            return 0
        if self.registry_unavailable or isinstance(self.failure, OSError | StoreUnavailable):
            tried = runtime.current().settings.step_attempts - (self.retries_left or 0)
            return RETRY_PAUSES[min(max(tried, 1), len(RETRY_PAUSES)) - 1]
        return int(super().get_retry_interval())

    def retry(self, queue: Queue, pipeline: Any) -> None:
        """Queue the step again, or schedule it, by Redis's clock."""
        pause = self.get_retry_interval()
        super().retry(queue, pipeline)
        if pause:
            due = redis_time(queue.connection) + pause
            pipeline.zadd(queue.scheduled_job_registry.key, {self.id: int(due)}, xx=True)

    def _execute(self) -> Any:
        """Run the step, and decide what a failure costs: a shutdown no attempt, an invalid job all of them."""
        try:
            if not isinstance(self.args, list | tuple) or not isinstance(self.kwargs, dict):
                msg = "refused: the arguments are not a list and a dictionary"
                raise InvalidJob(msg)  # noqa: TRY301 - handled as any other wrong job
            return self.func(*self.args, **self.kwargs)
        except Interrupted as error:
            if error.reason in {Reason.ENDED, Reason.OVERTAKEN}:
                planning = function_name(self.func_name) == EMBED_FILE
                return jobs.Unfinished(self.bulk_job()) if planning else {"stopped": str(error)}
            if error.reason is Reason.EXPIRED:
                self.failure = JobTimeoutException(str(error))
                raise self.failure from error
            self.failure = error
            if error.reason is Reason.SHUTDOWN:
                self.retries_left = (self.retries_left or 0) + 1
            raise
        except Exception as error:
            self.failure = error
            self.registry_unavailable = _is_registry_unavailable(error)
            if (
                isinstance(error, MunjangError)
                and not isinstance(error, _WORTH_RETRYING)
                and not self.registry_unavailable
            ):
                self.retries_left = 0
            raise

    def _handle_failure(self, exc_string: str, pipeline: Any, *args: Any, **kwargs: Any) -> None:
        """The step failed for the last time: so does its job."""
        super()._handle_failure(exc_string, pipeline, *args, **kwargs)
        job_id = self.bulk_job()
        if job_id and not isinstance(self.failure, Interrupted | jobs.JobFailed):
            records = runtime.current().jobs
            records.end(job_id, JobState.FAILED, self._message())
            records.mirror(job_id)

    def bulk_job(self) -> str:
        """The id of the job that this is a step of; "" if it is none."""
        try:
            function = function_name(self.func_name)
            if function == EMBED_FILE:
                known = runtime.current().jobs.job_of(self.id)
                return known or JobSpec.of_call(self.args, self.kwargs).job_id
            return str(self.args[0]) if function in FUNCTIONS else ""
        except Exception:  # noqa: BLE001 - arguments can be anything; then there is no job to fail
            return ""

    def _message(self) -> str:
        if isinstance(self.failure, MunjangError):
            return str(self.failure)
        if self.failure is None:
            return f"{self.description}: given up, because its worker died again and again"
        if isinstance(self.failure, BaseTimeoutException):
            return f"{self.description}: took longer than {self.timeout} s"
        failure = self.failure
        text = (
            f"{failure}"
            if isinstance(failure, OSError) and failure.strerror
            else f"{type(failure).__name__}: {failure}"
        )
        places = "".join(f"; {note}" for note in getattr(failure, "__notes__", ()))
        return f"{self.description}: {shorten(text, MESSAGE_CHARS, placeholder=' …')}{places}"


def _is_registry_unavailable(error: Exception) -> bool:
    """Whether a step failed because the registry is unavailable; an empty one counts, like a volume not mounted."""
    if not isinstance(error, VersionNotFound):
        return isinstance(error, RegistryUnavailable)
    try:
        return not runtime.current().registry.versions()
    except RegistryUnavailable:
        return True


class BulkQueue(Queue):  # type: ignore[misc] # rq is not followed by mypy
    """The queue, whose jobs are `BulkJob`s with plain data whatever RQ's own commands pass."""

    job_class = BulkJob

    def __init__(self, name: str, connection: Any, **options: Any) -> None:
        super().__init__(
            name, connection, death_penalty_class=options.get("death_penalty_class", self.death_penalty_class)
        )
        self.serializer = PlainJson

    @classmethod
    def lmove(cls, connection: Any, queue_key: str, timeout: int | None) -> Any:
        """Wait for a job; remember who waits, so that a signal can end the waiting without losing a job."""
        runtime.current().blocked = connection.client_id()
        return super().lmove(connection, queue_key, timeout)

    def acquire_maintenance_lock(self) -> bool:
        """Keep other workers from maintenance, but not for RQ's quarter of an hour if this one dies in it."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_SECONDS))

    def resume_deferred(self, rq_id: str, *, cancel: bool, keep_seconds: int) -> None:
        """Queue a deferred RQ job before all else, or cancel it and keep it so long; other jobs stay as they are."""

        def change(pipe: Any) -> None:
            status = pipe.hget(self.job_class.key_for(rq_id), "status")
            pipe.multi()
            if status == JobStatus.DEFERRED.encode():
                job = self.job_class.fetch(rq_id, connection=self.connection, serializer=self.serializer)
                if cancel:
                    job.cancel(pipeline=pipe)
                    pipe.expire(job.key, keep_seconds)
                else:
                    self.deferred_job_registry.remove(job, pipeline=pipe)
                    self._enqueue_job(job, pipeline=pipe, at_front=True)

        with suppress(NoSuchJobError):
            self.connection.transaction(change, self.job_class.key_for(rq_id))

    def enqueue_due(self, now: float) -> None:
        """Queue the jobs whose time has come by Redis's clock: those to be retried later, and those scheduled."""
        registry = ScheduledJobRegistry(
            self.name, connection=self.connection, job_class=self.job_class, serializer=self.serializer
        )
        due = registry.get_jobs_to_schedule(int(now))
        found = self.job_class.fetch_many(due, connection=self.connection, serializer=self.serializer)
        for rq_id, job in zip(due, found, strict=True):
            with self.connection.pipeline() as pipe:
                if job:
                    self._enqueue_job(job, pipeline=pipe, at_front=job.should_enqueue_at_front())
                registry.remove(rq_id, pipeline=pipe)
                pipe.execute()
