"""JobClient: bulk jobs over gRPC, for programs that reach a server but not its Redis. Has the methods of `JobQueue`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import grpc

from munjang.bulk.job import Job, JobState
from munjang.client.grpc_errors import from_call
from munjang.client.job_messages import job_of, spec_message
from munjang.client.sync_client import Connection
from munjang.v1 import job_service_pb2 as pb2
from munjang.v1 import job_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang.bulk.job import JobSpec

REOPEN_SECONDS = 0.5
"""The pause before a watch that ended early is opened again."""


class JobClient(Connection):
    """Submits and follows jobs through a server; use it in a `with` statement, or close it.

    Every method raises the classes of `munjang.errors`: what the server said, `ServerUnreachable` if none answered,
    and `DeadlineExceeded` if time ran out.
    """

    @cached_property
    def _stub(self) -> job_service_pb2_grpc.JobServiceStub:
        return job_service_pb2_grpc.JobServiceStub(self._channel)

    def submit(self, spec: JobSpec) -> tuple[Job, bool]:
        """Put a job into the queue; the job, and whether the same work was queued or running already."""
        reply = self._call(self._stub.SubmitJob, pb2.SubmitJobRequest(spec=spec_message(spec)))
        return job_of(reply.job), reply.existing

    def get(self, name: str) -> Job:
        """A job by its id, or by the id that `rq enqueue` printed."""
        return job_of(self._call(self._stub.GetJob, pb2.GetJobRequest(id=name)).job)

    def recent(self, limit: int = 100) -> list[Job]:
        """Jobs, newest first, at most `limit`."""
        jobs: list[Job] = []
        token = ""
        while len(jobs) < limit:
            request = pb2.ListJobsRequest(page_size=min(limit - len(jobs), 1000), page_token=token)
            reply = self._call(self._stub.ListJobs, request)
            jobs += [job_of(message) for message in reply.jobs]
            token = reply.next_page_token
            if not token:
                break
        return jobs

    def cancel(self, name: str) -> Job:
        """Stop a job at its next batch; finished shards stay. An ended job is left as it is."""
        return job_of(self._call(self._stub.CancelJob, pb2.CancelJobRequest(id=name)).job)

    def retry(self, name: str) -> Job:
        """Queue a failed or cancelled job again, to resume from its finished shards; others are left as they are."""
        job = self.get(name)
        return self.submit(job.spec)[0] if job.state in {JobState.FAILED, JobState.CANCELLED} else job

    def watch(self, name: str) -> Iterator[Job]:
        """The job as it stands, then at every change, until it has ended; by another server if one ends."""
        last: Job | None = None
        attempts = self._attempts(None)
        while last is None or not last.state.ended:
            try:
                for reply in self._stub.WatchJob(pb2.WatchJobRequest(id=name), metadata=self._metadata()):
                    attempts = self._attempts(None)
                    job = job_of(reply.job)
                    if job != last:
                        last = job
                        yield job
                self._closing.wait(REOPEN_SECONDS)
            except grpc.RpcError as error:
                failure = from_call(error)
                pause = attempts.wait_after(failure)
                if pause is None or self._closing.wait(pause):
                    raise failure from error
