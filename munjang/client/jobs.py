"""The job queue in Redis as those see it who submit and watch jobs: Python programs, the command line and the server.

What the worker does with a job is the worker's; what a job is and how it is kept are `munjang.bulk`'s. Needs redis and
rq: `pip install 'munjang[jobs]'`.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from munjang.bulk.job import Job, JobState
from munjang.client.job_store import JobStore
from munjang.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.bulk.job import JobSpec

SOCKET_SECONDS = 5.0
"""How long one answer of Redis is waited for."""

RETRIES = 3
"""How often a failed call is tried again before the queue counts as unavailable."""

PATIENCE_SECONDS = 60.0
"""For how long a watch goes on without Redis: as long as a restart takes."""

PAGE = 1000
"""The most jobs of one listing."""


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
        self._store = JobStore(self._redis)

    def submit(self, spec: JobSpec) -> tuple[Job, bool]:
        """Put a job into the queue; the job, and whether the same work was queued or running already.

        Work that has ended is queued again: the worker finds what is finished and does the rest, or nothing.
        """
        with _redis_errors():
            existing = self._store.enqueue(spec)
            return self._store.read(spec.job_id), existing

    def get(self, name: str) -> Job:
        """A job by its id, or by the id that `rq enqueue` printed.

        Raises:
            JobNotFound: there is none.
            InvalidJob: the RQ job's arguments are not those of a job.
        """
        with _redis_errors():
            return self._store.read(self._store.resolve(name))

    def recent(self, limit: int = 100, offset: int = 0) -> list[Job]:
        """Jobs, newest first, at most `limit` (and 1,000) after the first `offset`."""
        with _redis_errors():
            return self._store.page(max(1, min(limit, PAGE)), offset)

    def cancel(self, name: str) -> Job:
        """Stop a job at its next batch; finished shards stay. An ended job is left as it is.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        with _redis_errors():
            job_id = self._store.resolve(name)
            self._store.cancel(job_id)
            return self._store.read(job_id)

    def retry(self, name: str) -> Job:
        """Queue a failed or cancelled job again: it goes on from its finished shards. Other jobs are left as they are.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        job = self.get(name)
        if job.state in {JobState.FAILED, JobState.CANCELLED}:
            return self.submit(job.spec)[0]
        return job

    def watch(self, name: str, interval: float = 0.5, patience: float = PATIENCE_SECONDS) -> Iterator[Job]:
        """The job as it stands, then at every change, until it has ended.

        Args:
            name: the job's id, or the id that `rq enqueue` printed.
            interval: seconds between two looks.
            patience: for how many seconds Redis may be away, once the job was seen.

        Raises:
            JobNotFound, InvalidJob: as for `get`.
        """
        job = self.get(name)
        yield job
        seen = time.monotonic()
        while not job.state.ended:
            time.sleep(interval)
            try:
                now = self.get(job.id)
            except QueueUnavailable:
                if time.monotonic() - seen > patience:
                    raise
                continue
            seen = time.monotonic()
            if now != job:
                job = now
                yield job

    def depth(self) -> tuple[int, int]:
        """How many steps (plans, shards, ends of jobs) wait, and how many workers are at one."""
        with _redis_errors():
            return self._store.depth()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        msg = "the job queue cannot be reached: " + (str(error) or type(error).__name__)
        raise QueueUnavailable(msg) from error
