"""The job queue in Redis as those see it who submit and watch jobs: Python programs, the command line and the server.

What the worker does with a job is the worker's; what a job is and how it is kept are `munjang.bulk`'s. Needs redis and
rq: `pip install 'munjang[jobs]'`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job as RqJob

from munjang.bulk import EMBED_FILE, QUEUE
from munjang.bulk.record import JOBS, Job, JobState, done_key, job_key, new_fields, parse_job, rq_key, running_key
from munjang.bulk.serializer import PlainJson
from munjang.bulk.spec import POSITIONAL, JobSpec
from munjang.errors import InvalidJob, JobNotFound, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_SECONDS = 5.0
"""How long one answer of Redis is waited for."""

RETRIES = 3
"""How often a failed call is tried again before the queue counts as unavailable."""

PAGE = 1000
"""The most jobs of one listing."""

_ACTIVE = (b"queued", b"running")


class JobQueue:
    """The queue at one Redis. May be used from any thread.

    Every method raises QueueUnavailable where Redis cannot be reached.
    """

    def __init__(self, url: str, *, seconds: float = SOCKET_SECONDS, retries: int = RETRIES) -> None:
        """Name the queue; nothing is read or written yet.

        Args:
            url: redis://, rediss:// or unix://, with user and password where needed.
            seconds: how long one answer of Redis is waited for.
            retries: how often a failed call is tried again.

        Raises:
            QueueUnavailable: no URL, or one that is not valid.
        """
        if not url:
            msg = "no job queue: set MUNJANG_REDIS_URL to the redis:// URL that `munjang up` prints, or to your own"
            raise QueueUnavailable(msg)
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
            )
        except ValueError as error:
            msg = f"the address of the job queue is not valid: {error}"
            raise QueueUnavailable(msg) from error
        self._queue = Queue(QUEUE, connection=self._redis, serializer=PlainJson)

    def submit(self, spec: JobSpec) -> tuple[Job, bool]:
        """Put a job into the queue; the job, and whether the same work was queued or running already.

        Work that has ended is queued again: the worker finds what is finished and does the rest, or nothing.
        """
        with _redis_errors():
            existing = self._enqueue(spec, spec.job_id)
            return self._read(spec.job_id), existing

    def get(self, name: str) -> Job:
        """A job by its id, or by the id that `rq enqueue` printed.

        Raises:
            JobNotFound: there is none.
            InvalidJob: the RQ job's arguments are not those of a job.
        """
        with _redis_errors():
            return self._read(self._resolve(name))

    def recent(self, limit: int = 100, offset: int = 0) -> list[Job]:
        """Jobs, newest first, at most `limit` (and 1,000) after the first `offset`."""
        with _redis_errors():
            self._adopt_waiting()
            ids = self._redis.zrevrange(JOBS, offset, offset + max(1, min(limit, PAGE)) - 1)
            return [job for name in ids if (job := self._read_or_forget(name.decode()))]

    def cancel(self, name: str) -> Job:
        """Stop a job at its next batch; finished shards stay. An ended job is left as it is.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        with _redis_errors():
            job_id = self._resolve(name)
            self._cancel(job_id)
            return self._read(job_id)

    def retry(self, name: str) -> Job:
        """Queue a failed or cancelled job again: it goes on from its finished shards. Other jobs are left as they are.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        job = self.get(name)
        if job.state in {JobState.FAILED, JobState.CANCELLED}:
            return self.submit(job.spec)[0]
        return job

    def watch(self, name: str, interval: float = 0.5) -> Iterator[Job]:
        """The job as it stands, then at every change, until it has ended; looked at every `interval` seconds.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        job = self.get(name)
        yield job
        while not job.state.ended:
            time.sleep(interval)
            now = self.get(job.id)
            if now != job:
                job = now
                yield job

    def depth(self) -> tuple[int, int]:
        """How many steps (plans, shards, ends of jobs) wait, and how many workers are at one."""
        with _redis_errors():
            started = self._queue.started_job_registry
            return int(self._redis.llen(self._queue.key)), int(self._redis.zcard(started.key))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _enqueue(self, spec: JobSpec, job_id: str) -> bool:
        while True:
            with self._redis.pipeline() as pipe:
                try:
                    pipe.watch(job_key(job_id))
                    if self._is_active(pipe, job_id):
                        return True
                    pipe.multi()
                    _write_new(pipe, spec, job_id, job_id)
                    arguments = spec.model_dump(mode="json", exclude_defaults=True, exclude=set(POSITIONAL))
                    self._queue.enqueue_call(
                        EMBED_FILE,
                        (spec.input, spec.output),
                        arguments,
                        job_id=job_id,
                        description=f"{job_id}: embed {spec.input}",
                        pipeline=pipe,
                    )
                    pipe.execute()
                except WatchError:
                    continue
                return False

    def _is_active(self, pipe: Any, job_id: str) -> bool:
        state, rq_id = pipe.hmget(job_key(job_id), "state", "rq_id")
        if state == b"queued":  # unless somebody emptied the queue
            return bool(pipe.exists(RqJob.key_for((rq_id or b"").decode())))
        return state in _ACTIVE

    def _cancel(self, job_id: str) -> None:
        while True:
            with self._redis.pipeline() as pipe:
                try:
                    pipe.watch(job_key(job_id))
                    state, rq_id = pipe.hmget(job_key(job_id), "state", "rq_id")
                    if state not in _ACTIVE:
                        return
                    pipe.multi()
                    ended = {
                        "state": str(JobState.CANCELLED),
                        "message": "cancelled on request",
                        "ended_at": time.time(),
                    }
                    pipe.hset(job_key(job_id), mapping=ended)
                    pipe.lrem(self._queue.key, 0, rq_id or b"")
                    pipe.execute()
                except WatchError:
                    continue
                return

    def _resolve(self, name: str) -> str:
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

    def _adopt(self, rq_job: Any) -> str:
        """Make the record of a job that `rq enqueue` put into the queue and no worker has taken yet."""
        spec = _spec_of(rq_job)
        job_id = spec.job_id
        if self._redis.hsetnx(job_key(job_id), "state", str(JobState.QUEUED)):
            with self._redis.pipeline() as pipe:
                _write_new(pipe, spec, job_id, rq_job.id)
                pipe.execute()
        self._redis.set(rq_key(rq_job.id), job_id, ex=7 * 86400)
        return job_id

    def _adopt_waiting(self) -> None:
        ids = [name.decode() for name in self._redis.lrange(self._queue.key, 0, PAGE - 1)]
        for rq_job in RqJob.fetch_many(ids, connection=self._redis, serializer=PlainJson):
            if rq_job and not self._redis.exists(job_key(rq_job.id)):
                with suppress(InvalidJob, JobNotFound):  # a worker will fail it, with the reason
                    self._adopt(rq_job)

    def _read(self, job_id: str) -> Job:
        fields, running = self._fetch(job_id)
        if not fields:
            msg = f"there is no job {job_id!r}"
            raise JobNotFound(msg)
        return parse_job(job_id, fields, running, time.time())

    def _read_or_forget(self, job_id: str) -> Job | None:
        fields, running = self._fetch(job_id)
        if not fields:
            self._redis.zrem(JOBS, job_id)
            return None
        return parse_job(job_id, fields, running, time.time())

    def _fetch(self, job_id: str) -> tuple[dict[bytes, bytes], list[bytes]]:
        with self._redis.pipeline() as pipe:
            pipe.hgetall(job_key(job_id))
            pipe.hvals(running_key(job_id))
            fields, running = pipe.execute()
        return fields, running


def _write_new(pipe: Any, spec: JobSpec, job_id: str, rq_id: str) -> None:
    now = time.time()
    pipe.delete(job_key(job_id), done_key(job_id), running_key(job_id))
    pipe.hset(job_key(job_id), mapping=new_fields(spec, rq_id, now))
    pipe.zadd(JOBS, {job_id: now})


def _spec_of(rq_job: Any) -> JobSpec:
    try:
        function = rq_job.func_name
    except DeserializationError as error:
        msg = f"the arguments of {rq_job.id} cannot be read: {error.__cause__}"
        raise InvalidJob(msg) from error
    if function != EMBED_FILE:
        msg = f"{rq_job.id} is a job of {function!r}, not a bulk job"
        raise JobNotFound(msg)
    return JobSpec.of_call(rq_job.args, rq_job.kwargs)


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        msg = "the job queue cannot be reached: " + (str(error) or type(error).__name__)
        raise QueueUnavailable(msg) from error
