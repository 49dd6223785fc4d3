"""JobService: submit and follow bulk jobs over gRPC. Uses the queue only; workers do the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from munjang.bulk.job import JobSpec, is_absolute
from munjang.client.job_messages import job_message
from munjang.client.jobs import PAGE, JobQueue
from munjang.errors import InvalidJob, InvalidOption, MalformedMessage, ShuttingDown, UnsupportedPrecision
from munjang.v1 import job_service_pb2 as pb2
from munjang_server.rpc.request_parsing import Parser, output_options, role_of, truncates

if TYPE_CHECKING:
    from munjang.bulk.job import Job
    from munjang_server.rpc.calls import Call

POLL_SECONDS = 0.5
"""How often a watched job is read from the queue."""

DEFAULT_PAGE = 100

FORMATS: Final[dict[int, str]] = {
    pb2.OUTPUT_FORMAT_UNSPECIFIED: "parquet",
    pb2.OUTPUT_FORMAT_PARQUET: "parquet",
    pb2.OUTPUT_FORMAT_JSONL: "jsonl",
    pb2.OUTPUT_FORMAT_NPY: "npy",
}
OPTION_FIELDS: Final = frozenset(
    {"version", "role", "prompt_name", "prompt", "normalize", "dimensions", "precision", "truncation"}
)
"""The fields of a spec that are `spec.options` in the protos."""


class JobService:
    """Serves JobService.

    Args:
        redis_url: where the queue is; without one every method answers that there is none.
        draining: set when the server shuts down; watches end then.
        max_message_bytes: longer requests of WatchJob are refused.
    """

    def __init__(self, redis_url: str, draining: asyncio.Event, max_message_bytes: int) -> None:
        self._url = redis_url
        self._draining = draining
        self._opened: JobQueue | None = None
        self._watch = Parser(pb2.WatchJobRequest, max_message_bytes)

    async def submit_job(self, request: pb2.SubmitJobRequest, call: Call) -> pb2.SubmitJobResponse:  # noqa: ARG002 - every handler gets its call
        """Put a job into the queue, or find the same work in it."""
        spec = job_spec(request.spec)
        job, existing = await asyncio.to_thread(self._queue().submit, spec)
        return pb2.SubmitJobResponse(job=job_message(job), existing=existing)

    async def get_job(self, request: pb2.GetJobRequest, call: Call) -> pb2.GetJobResponse:
        """A job as it stands."""
        job = await self._found(request.id, call)
        return pb2.GetJobResponse(job=job_message(job))

    async def list_jobs(self, request: pb2.ListJobsRequest, call: Call) -> pb2.ListJobsResponse:  # noqa: ARG002 - every handler gets its call
        """A page of jobs, newest first."""
        size = min(request.page_size or DEFAULT_PAGE, PAGE)
        token = request.page_token
        if token and not token.isdecimal():
            msg = f"{token[:32]!r} is not a token of an earlier page"
            raise InvalidOption(msg, field="page_token")
        offset = int(token or 0)
        jobs = await asyncio.to_thread(self._queue().recent, size, offset)
        following = str(offset + size) if len(jobs) == size else ""
        return pb2.ListJobsResponse(jobs=[job_message(job) for job in jobs], next_page_token=following)

    async def cancel_job(self, request: pb2.CancelJobRequest, call: Call) -> pb2.CancelJobResponse:
        """Stop a job at its next batch."""
        job = await asyncio.to_thread(self._queue().cancel, _required(request.id))
        call.version = job.version
        return pb2.CancelJobResponse(job=job_message(job))

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
                await call.write(pb2.WatchJobResponse(job=job_message(job)).SerializeToString())
                sent = job
            elif await self._drains():
                msg = "the server is shutting down; watch the job on another"
                raise ShuttingDown(msg)

    async def _found(self, name: str, call: Call) -> Job:
        job = await asyncio.to_thread(self._queue().get, _required(name))
        call.version = job.version
        return job

    async def _drains(self) -> bool:
        """Wait until the job is read again; whether the server began to shut down meanwhile."""
        try:
            await asyncio.wait_for(self._draining.wait(), POLL_SECONDS)
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


def job_spec(message: pb2.JobSpec) -> JobSpec:
    """The spec of a request.

    Raises:
        InvalidJob, InvalidRequest: something in it is wrong; the field is a path in the request.
    """
    for name in ("input", "output"):
        path = getattr(message, name)
        if path and not is_absolute(path):
            msg = f"{name}: give an absolute path or a URL, not {path[:200]!r}: the workers may run elsewhere"
            raise InvalidJob(msg, field=f"spec.{name}")
    output_format = FORMATS.get(message.format)
    if output_format is None:
        msg = f"unknown format {message.format}; take OUTPUT_FORMAT_PARQUET (1), _JSONL (2) or _NPY (3)"
        raise InvalidJob(msg, field="spec.format")
    try:
        wanted = output_options(message.options)
    except UnsupportedPrecision as error:
        error.field = "spec.options.precision"
        raise
    fields: dict[str, Any] = {
        "input": message.input,
        "output": message.output,
        "version": message.options.version,
        "role": role_of(message.options.role, "spec.options.role"),
        "prompt_name": message.options.prompt_name,
        "prompt": message.options.prompt if message.options.HasField("prompt") else None,
        "normalize": wanted.normalize,
        "dimensions": wanted.dimensions,
        "precision": wanted.precision,
        "truncation": "end" if truncates(message.options.truncation, "spec.options.truncation") else "none",
        "text_column": message.text_column or "text",
        "id_column": message.id_column,
        "carry_columns": list(message.carry_columns),
        "format": output_format,
        "input_format": message.input_format or "auto",
        "encoding": message.encoding or "utf-8",
        "quoting": message.quoting or "auto",
        "shard_rows": message.shard_rows,
        "max_error_rate": message.max_error_rate if message.HasField("max_error_rate") else None,
    }
    try:
        return JobSpec.of_call((), fields)
    except InvalidJob as error:
        error.field = f"spec.options.{error.field}" if error.field in OPTION_FIELDS else f"spec.{error.field}"
        raise
