"""JobQueue: the job queue in Redis for those who submit and watch jobs: Python programs, the command line, the server.

Every change of a job's record is one transaction. The worker decides what it does with a job; `munjang.bulk` defines a
job and its records. Needs redis and rq: `pip install 'munjang[jobs]'`.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job as RqJob
from rq.job import JobStatus

from munjang.bulk import EMBED_FILE, QUEUE, function_name
from munjang.bulk.job import (
    JOBS,
    POSITIONAL,
    RUNNING,
    Job,
    JobSpec,
    JobState,
    done_key,
    job_key,
    new_fields,
    parse_job,
    rq_key,
    running_key,
)
from munjang.bulk.redis_kind import refusal_of_server, refusal_of_url
from munjang.bulk.serializer import PlainJson
from munjang.client.retry import ENDLESS_SECONDS
from munjang.client.retry import seconds as check_seconds
from munjang.errors import InvalidJob, InvalidOption, JobNotFound, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SOCKET_SECONDS = 5.0
"""How long to wait for one answer of Redis."""

RETRIES = 3
"""How often a failed call is tried again before the queue counts as unavailable."""

OUTAGE_SECONDS = 60.0
"""How long a watch continues without Redis: as long as a restart takes."""

PAGE = 1000
"""The most jobs of one listing."""

KEEP_SECONDS = 7 * 86400
"""How long the mapping of an RQ job to its job is kept, and how long a job that never started stays in RQ."""

SCANNED = 1000
"""How many waiting entries of the queue are scanned for jobs that `rq enqueue` put there."""

_WAITING = {JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.DEFERRED}
_ENDED = {JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED}


class JobQueue:
    """The queue at one Redis. May be used from any thread.

    Every method raises QueueUnavailable where Redis cannot be reached, or is a Cluster or a Sentinel.
    """

    def __init__(self, url: str, *, seconds: float = SOCKET_SECONDS, retries: int = RETRIES) -> None:
        """Set the address of the queue; nothing is read or written yet.

        Args:
            url: redis://, rediss:// or unix://, with user and password where needed.
            seconds: how long to wait for one answer of Redis; infinity for no limit.
            retries: how often a failed call is tried again.

        Raises:
            QueueUnavailable: no URL, one that is not valid, or that of a Cluster or a Sentinel.
            InvalidOption: `seconds` is not a time.
        """
        limit = check_seconds(seconds, "seconds")
        if limit <= 0:
            msg = f"seconds is {seconds!r}; it must be above 0"
            raise InvalidOption(msg, field="seconds")
        wait = None if limit == math.inf else limit
        if not url:
            msg = "no job queue: set MUNJANG_REDIS_URL to the redis:// URL that `munjang up` prints, or to your own"
            raise QueueUnavailable(msg)
        if refusal := refusal_of_url(url):
            raise QueueUnavailable(refusal)
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=wait,
                socket_connect_timeout=wait,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
            )
        except ValueError as error:
            msg = f"the address of the job queue is not valid: {error}"
            raise QueueUnavailable(msg) from error
        self._queue = Queue(QUEUE, connection=self._redis, serializer=PlainJson)
        self._checked = False

    def submit(self, spec: JobSpec) -> tuple[Job, bool]:
        """Put a job into the queue; the job, and whether the same work was queued or running already.

        Work that has ended is queued again: the worker skips what is finished and does the rest.
        """
        with self._connected():
            existing = self._enqueue(spec)
            return self._read(spec.job_id), existing

    def get(self, name: str) -> Job:
        """A job by its id, or by the id that `rq enqueue` printed.

        Raises:
            JobNotFound: there is none.
            InvalidJob: the RQ job's arguments are not those of a job.
        """
        with self._connected():
            return self._read(self._resolve(name))

    def recent(self, limit: int = 100, offset: int = 0) -> list[Job]:
        """Jobs, newest first, at most `limit` (and 1,000) after the first `offset`."""
        with self._connected():
            return self._page(max(1, min(limit, PAGE)), offset)

    def cancel(self, name: str) -> Job:
        """Stop a job at its next batch; finished shards stay. An ended job is left as it is.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        with self._connected():
            job_id = self._resolve(name)
            self._mark_cancelled(job_id)
            return self._read(job_id)

    def retry(self, name: str) -> Job:
        """Queue a failed or cancelled job again: it resumes from its finished shards. Other jobs are left as they are.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        job = self.get(name)
        if job.state in {JobState.FAILED, JobState.CANCELLED}:
            return self.submit(job.spec)[0]
        return job

    def watch(self, name: str, interval: float = 0.5, patience: float = OUTAGE_SECONDS) -> Iterator[Job]:
        """The job as it stands, then at every change, until it has ended.

        Args:
            name: the job's id, or the id that `rq enqueue` printed.
            interval: seconds between two reads.
            patience: for how many seconds Redis may be unavailable, once the job was seen.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
            InvalidOption: `interval` or `patience` is not a time.
        """
        pause, outage = check_seconds(interval, "interval"), check_seconds(patience, "patience")
        job = self.get(name)
        yield job
        seen = time.monotonic()
        while not job.state.ended:
            time.sleep(max(0.0, min(pause, ENDLESS_SECONDS)))
            try:
                now = self.get(job.id)
            except QueueUnavailable:
                if time.monotonic() - seen > outage:
                    raise
                continue
            seen = time.monotonic()
            if now != job:
                job = now
                yield job

    def depth(self) -> tuple[int, int]:
        """How many steps (plans, shards, ends of jobs) wait, and how many workers are at one."""
        with self._connected():
            return int(self._redis.llen(self._queue.key)), int(self._redis.zcard(self._queue.started_job_registry.key))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Turn errors of Redis into ours; the first time, see that it is a Redis that can be the queue."""
        try:
            if not self._checked:
                with suppress(ResponseError):  # INFO may be forbidden
                    if refusal := refusal_of_server(self._redis):
                        raise QueueUnavailable(refusal)
                self._checked = True
            yield
        except RedisError as error:
            msg = "the job queue cannot be reached: " + (str(error) or type(error).__name__)
            raise QueueUnavailable(msg) from error

    def _enqueue(self, spec: JobSpec) -> bool:
        """Put a job into the queue, unless the same work waits or runs; whether it does."""
        job_id = spec.job_id

        def put(pipe: Any) -> bool:
            if self._is_active(pipe, job_id):
                return True
            pipe.multi()
            _write_new(pipe, spec, job_id)
            arguments = spec.model_dump(mode="json", exclude_defaults=True, exclude=set(POSITIONAL))
            self._queue.enqueue_call(
                EMBED_FILE,
                (spec.input, spec.output),
                arguments,
                job_id=job_id,
                description=f"{job_id}: embed {spec.input}",
                pipeline=pipe,
            )
            return False

        return bool(self._change(put, job_id))

    def _mark_cancelled(self, job_id: str) -> None:
        """Mark a job as cancelled, unless it has ended, and cancel the RQ job that it came as, unless it runs."""

        def mark(pipe: Any) -> str:
            state, rq_id = pipe.hmget(job_key(job_id), "state", "rq_id")
            if not state or JobState(state.decode()).ended:
                return ""
            fields = {"state": str(JobState.CANCELLED), "message": "cancelled on request", "ended_at": time.time()}
            pipe.multi()
            pipe.hset(job_key(job_id), mapping=fields)
            pipe.srem(RUNNING, job_id)
            pipe.lrem(self._queue.key, 0, rq_id or b"")
            pipe.expire(RqJob.key_for((rq_id or b"").decode()), KEEP_SECONDS)
            return str((rq_id or b"").decode())

        if rq_id := self._change(mark, job_id):
            with suppress(NoSuchJobError):
                rq_job = RqJob.fetch(rq_id, connection=self._redis, serializer=PlainJson)
                if rq_job.get_status(refresh=False) in _WAITING:
                    rq_job.cancel()

    def _resolve(self, name: str) -> str:
        """The id of a job that is named by it, or by the RQ job that it came as.

        Raises:
            JobNotFound: there is none, or not any more.
            InvalidJob: the RQ job's arguments are not those of a job.
        """
        if self._redis.exists(job_key(name)):
            return name
        known = self._redis.get(rq_key(name))
        if known:
            return str(known.decode())
        try:
            rq_job = RqJob.fetch(name, connection=self._redis, serializer=PlainJson)
        except (NoSuchJobError, ValueError):  # ValueError: not an id at all
            msg = f"there is no job {name!r}; `munjang jobs list` shows those that the queue remembers"
            raise JobNotFound(msg) from None
        return self._adopt(rq_job)

    def _read(self, job_id: str) -> Job:
        """A job as it stands. Raises JobNotFound if there is none."""
        [job] = self._read_many([job_id])
        if job is None:
            msg = f"there is no job {job_id!r}"
            raise JobNotFound(msg)
        return job

    def _page(self, limit: int, offset: int) -> list[Job]:
        """Jobs, newest first, at most `limit` after the first `offset`. Ids whose records are gone are forgotten."""
        self._adopt_waiting()
        while True:
            ids = [name.decode() for name in self._redis.zrevrange(JOBS, offset, offset + limit - 1)]
            jobs = self._read_many(ids)
            gone = [job_id for job_id, job in zip(ids, jobs, strict=True) if job is None]
            if not gone:
                return [job for job in jobs if job]
            self._redis.zrem(JOBS, *gone)

    def _change(self, change: Any, job_id: str) -> Any:
        """Make a change in one transaction; retry it if the job's record changed meanwhile."""
        return self._redis.transaction(change, job_key(job_id), value_from_callable=True)

    def _is_active(self, pipe: Any, job_id: str) -> bool:
        state, rq_id = pipe.hmget(job_key(job_id), "state", "rq_id")
        if state == b"queued":  # unless the queue was emptied
            return bool(pipe.exists(RqJob.key_for((rq_id or b"").decode())))
        return bool(state == b"running")

    def _adopt(self, rq_job: Any) -> str:
        """Make the record of a job that `rq enqueue` put into the queue and no worker has taken yet."""
        spec, rq_id = _spec_of(rq_job), rq_job.id
        if rq_job.get_status(refresh=False) in _ENDED:
            msg = f"the job that {rq_id!r} was has ended, and is no longer remembered"
            raise JobNotFound(msg)

        def write(pipe: Any) -> None:
            state, owner = pipe.hmget(job_key(spec.job_id), "state", "rq_id")
            pipe.multi()
            if not state or (JobState(state.decode()).ended and owner != rq_id.encode()):
                _write_new(pipe, spec, rq_id)
            pipe.set(rq_key(rq_id), spec.job_id, ex=KEEP_SECONDS)

        self._change(write, spec.job_id)
        return spec.job_id

    def _adopt_waiting(self) -> None:
        ids = [name.decode() for name in self._redis.lrange(self._queue.key, 0, SCANNED - 1)]
        for rq_job in RqJob.fetch_many(ids, connection=self._redis, serializer=PlainJson):
            if rq_job and not self._redis.exists(job_key(rq_job.id), rq_key(rq_job.id)):
                with suppress(InvalidJob, JobNotFound):  # a worker will fail it, with the reason
                    self._adopt(rq_job)

    def _read_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        with self._redis.pipeline() as pipe:
            for job_id in job_ids:
                pipe.hgetall(job_key(job_id))
                pipe.hvals(running_key(job_id))
            found = pipe.execute()
        now = time.time()
        records = zip(job_ids, found[::2], found[1::2], strict=True)
        return [parse_job(job_id, fields, running, now) if fields else None for job_id, fields, running in records]


def _write_new(pipe: Any, spec: JobSpec, rq_id: str) -> None:
    now, job_id = time.time(), spec.job_id
    pipe.delete(job_key(job_id), done_key(job_id), running_key(job_id))
    pipe.hset(job_key(job_id), mapping=new_fields(spec, rq_id, now))
    pipe.zadd(JOBS, {job_id: now})


def _spec_of(rq_job: Any) -> JobSpec:
    try:
        function = rq_job.func_name
    except DeserializationError as error:
        msg = f"the arguments of {rq_job.id} cannot be read: {error.__cause__}"
        raise InvalidJob(msg) from error
    if function_name(function) != EMBED_FILE:
        msg = f"{rq_job.id} is a job of {function!r}, not a bulk job"
        raise JobNotFound(msg)
    return JobSpec.of_call(rq_job.args, rq_job.kwargs)
