"""JobService: bulk jobs submitted and followed over gRPC. A thin front of the queue; workers do the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from munjang.client.job_messages import job_message
from munjang.client.jobs import PAGE, JobQueue
from munjang.errors import InvalidJob, InvalidOption, MalformedMessage, ShuttingDown
from munjang.v1 import job_service_pb2 as pb2
from munjang_server.job_spec import job_spec
from munjang_server.parsing import Parser

if TYPE_CHECKING:
    from munjang.bulk.job import Job
    from munjang_server.call import Call

SERVICE = pb2.DESCRIPTOR.services_by_name["JobService"].full_name

WATCH_SECONDS = 0.5
"""How often a watched job is looked at."""

DEFAULT_PAGE = 100


class Jobs:
    """Serves JobService.

    Args:
        redis_url: where the queue is; without one every method answers that there is none.
        draining: set when the server shuts down; watches end then.
        max_message_bytes: longer messages are refused.
    """

    def __init__(self, redis_url: str, draining: asyncio.Event, max_message_bytes: int) -> None:
        self._url = redis_url
        self._draining = draining
        self._opened: JobQueue | None = None
        self._submit = Parser(pb2.SubmitJobRequest, max_message_bytes)
        self._get = Parser(pb2.GetJobRequest, max_message_bytes)
        self._list = Parser(pb2.ListJobsRequest, max_message_bytes)
        self._cancel = Parser(pb2.CancelJobRequest, max_message_bytes)
        self._watch = Parser(pb2.WatchJobRequest, max_message_bytes)

    async def submit_job(self, raw: bytes, call: Call) -> bytes:  # noqa: ARG002 - every handler gets its call
        """Put a job into the queue, or find the same work there."""
        spec = job_spec(self._submit.parse(raw).spec)
        job, existing = await asyncio.to_thread(self._queue().submit, spec)
        return pb2.SubmitJobResponse(job=job_message(job), existing=existing).SerializeToString()

    async def get_job(self, raw: bytes, call: Call) -> bytes:
        """A job as it stands."""
        job = await self._found(self._get.parse(raw).id, call)
        return pb2.GetJobResponse(job=job_message(job)).SerializeToString()

    async def list_jobs(self, raw: bytes, call: Call) -> bytes:  # noqa: ARG002 - every handler gets its call
        """A page of jobs, newest first."""
        request = self._list.parse(raw)
        size = min(request.page_size or DEFAULT_PAGE, PAGE)
        token = request.page_token
        if token and not token.isdecimal():
            msg = f"{token[:32]!r} is not a token of an earlier page"
            raise InvalidOption(msg, field="page_token")
        offset = int(token or 0)
        jobs = await asyncio.to_thread(self._queue().recent, size, offset)
        following = str(offset + size) if len(jobs) == size else ""
        reply = pb2.ListJobsResponse(jobs=[job_message(job) for job in jobs], next_page_token=following)
        return reply.SerializeToString()

    async def cancel_job(self, raw: bytes, call: Call) -> bytes:
        """Stop a job at its next batch."""
        job = await asyncio.to_thread(self._queue().cancel, _required(self._cancel.parse(raw).id))
        call.version = job.version
        return pb2.CancelJobResponse(job=job_message(job)).SerializeToString()

    async def watch_job(self, call: Call) -> None:
        """Send a job's state at once, then at every change until it has ended.

        Raises:
            ShuttingDown: the server drains.
        """
        raw = await call.context.read()
        if raw is grpc.aio.EOF:  # type: ignore[attr-defined]  # stubs of an older grpc
            msg = "WatchJob needs a request"
            raise MalformedMessage(msg)
        name = self._watch.parse(raw).id
        sent: Job | None = None
        while sent is None or not sent.state.ended:
            job = await self._found(name, call)
            if job != sent:
                await _write(call.context, pb2.WatchJobResponse(job=job_message(job)).SerializeToString())
                sent = job
            elif await self._drains():
                msg = "the server is shutting down; watch the job on another"
                raise ShuttingDown(msg)

    async def _found(self, name: str, call: Call) -> Job:
        job = await asyncio.to_thread(self._queue().get, _required(name))
        call.version = job.version
        return job

    async def _drains(self) -> bool:
        """Wait for the next look; whether the server began to shut down meanwhile."""
        try:
            await asyncio.wait_for(self._draining.wait(), WATCH_SECONDS)
        except TimeoutError:
            return False
        return True

    def _queue(self) -> JobQueue:
        if self._opened is None:
            self._opened = JobQueue(self._url)
        return self._opened


def _required(name: str) -> str:
    if not name:
        msg = "the id of a job is missing"
        raise InvalidJob(msg, field="id")
    return name


async def _write(context: Any, reply: bytes) -> None:
    """Write a reply. Where that fails the client has gone, and the call is about to be cancelled."""
    try:
        await context.write(reply)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
