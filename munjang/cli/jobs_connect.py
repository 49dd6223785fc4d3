"""What the commands of `munjang jobs` talk to: the queue in Redis, or a server in front of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from munjang.bulk.job import Job, JobState
from munjang.cli import jobs_print
from munjang.cli.config import read_settings
from munjang.errors import JobError, MunjangError
from munjang.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from munjang.client.job_client import JobClient
    from munjang.client.jobs import JobQueue


@contextmanager
def connect_jobs(redis: str, **server: str | float | bool | Path | None) -> Iterator[JobQueue | JobClient]:
    """The queue, or a server in front of it."""
    settings = read_settings(ClientSettings)
    url = redis or ("" if server["target"] else settings.redis_url)
    jobs = _queue(url) if url else _client(settings, server)
    try:
        yield jobs
    finally:
        jobs.close()


def _queue(url: str) -> JobQueue:
    try:
        from munjang.client.jobs import JobQueue  # noqa: PLC0415 - redis and rq, for those who use them
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed: pip install 'munjang[jobs]', or go by way of a server with --target"
        raise MunjangError(msg) from error
    return JobQueue(url)


def _client(settings: ClientSettings, given: dict[str, Any]) -> JobClient:
    from munjang.client.job_client import JobClient  # noqa: PLC0415 - grpc, where no queue is at hand

    return JobClient(
        given["target"] or settings.target,
        token=given["token"] or settings.token,
        timeout=given["timeout"] or settings.timeout,
        tls=given["tls"] or settings.tls,
        ca=given["ca"] or settings.ca or None,
        cert=given["cert"] or settings.cert or None,
        key=given["key"] or settings.key or None,
    )


def follow(jobs: JobQueue | JobClient, job_id: str, *, as_json: bool) -> None:
    """Show a job until it has ended.

    Raises:
        JobError: it failed or was cancelled.
    """
    last: Job | None = None
    with jobs_print.follow(as_json=as_json) as show:
        for last in jobs.watch(job_id):
            show(last)
    if last is None or last.state is not JobState.SUCCEEDED:
        state, message = (last.state, last.message) if last else ("unknown", "")
        msg = f"{job_id} {state}: {message}"
        raise JobError(msg)
    if not as_json:
        jobs_print.print_job(last, as_json=False)
