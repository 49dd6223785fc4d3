"""The steps of a job as RQ jobs: their ids, and how they are queued, each at most once while it waits or runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rq.job import Job, JobStatus

from munjang.bulk import EMBED_FILE, EMBED_SHARD, FINISH_FILE, FINISH_LOAD, LOAD_SHARD
from munjang.bulk.job import POSITIONAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rq import Queue

    from munjang.bulk.job import JobSpec
    from munjang_worker.plan import Plan

RESULT_SECONDS = 3600
"""How long RQ keeps a step that succeeded."""

CHUNK = 500
"""Steps that go into the queue in one transaction."""

MAX_SCANNED = 20_000
"""A longer queue is not searched for lost steps: they can be found when it is shorter."""

_OF_SHARDS = {EMBED_SHARD: ("", "shard"), LOAD_SHARD: ("load", "load shard")}
"""What the ids of the RQ jobs of each function have between the job's id and the shard's number; what they do."""

_QUEUED = JobStatus.QUEUED.encode()
_RUNNING = {JobStatus.STARTED.encode(), JobStatus.SCHEDULED.encode()}


class StepQueue:
    """Puts steps into the queue."""

    def __init__(self, queue: Queue, keep_seconds: int) -> None:
        """Choose the queue; failed steps stay in it for `keep_seconds`."""
        self._queue = queue
        self._keep = keep_seconds

    def enqueue_shards(self, plan: Plan, numbers: Iterable[int], timeout: float | None) -> int:
        """Queue the shards that are not waiting or running already; how many that were."""
        return self._enqueue_many(EMBED_SHARD, plan, numbers, timeout)

    def enqueue_loads(self, plan: Plan, numbers: Iterable[int], timeout: float | None) -> int:
        """Queue the loading of shards into the job's index, as `enqueue_shards`."""
        return self._enqueue_many(LOAD_SHARD, plan, numbers, timeout)

    def _enqueue_many(self, function: str, plan: Plan, numbers: Iterable[int], timeout: float | None) -> int:
        """Queue the steps of some shards that are not waiting or running already; how many that were."""
        name, what = _OF_SHARDS[function]
        prefix = f"{plan.job}-{name}"
        wanted = list(numbers)
        count, total = 0, len(plan.shards)
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            alive = self._alive([f"{prefix}{number:06d}" for number in chunk])
            left = [number for number in chunk if f"{prefix}{number:06d}" not in alive]
            self._queue.enqueue_many([
                self._queue.prepare_data(
                    function,
                    (plan.job, plan.spec.output, plan.fingerprint, number),
                    job_id=f"{prefix}{number:06d}",
                    description=f"{plan.job}: {what} {number + 1} of {total}, {plan.shards[number].rows} rows",
                    timeout=timeout,
                    result_ttl=RESULT_SECONDS,
                    failure_ttl=self._keep,
                    meta={"job": plan.job, "shard": number, "rows_total": plan.shards[number].rows},
                )
                for number in left
            ])  # fmt: skip
            count += len(left)
        return count

    def enqueue_finish(self, plan: Plan, timeout: float | None) -> None:
        """Queue a job's last step before all else, unless it is waiting or running already."""
        self._enqueue_end(FINISH_FILE, "finish", f"finish {plan.spec.output}", plan, timeout)

    def enqueue_finish_load(self, plan: Plan, timeout: float | None) -> None:
        """Queue the end of a job that loads into an index, as `enqueue_finish`."""
        self._enqueue_end(FINISH_LOAD, "loaded", f"finish loading into {plan.spec.to}", plan, timeout)

    def _enqueue_end(self, function: str, name: str, what: str, plan: Plan, timeout: float | None) -> None:
        rq_id = f"{plan.job}-{name}"
        if not self._alive([rq_id]):
            self._queue.enqueue_call(
                function,
                (plan.job, plan.spec.output, plan.fingerprint),
                job_id=rq_id,
                description=f"{plan.job}: {what}",
                timeout=timeout,
                result_ttl=RESULT_SECONDS,
                failure_ttl=self._keep,
                at_front=True,
            )

    def enqueue_plan(self, spec: JobSpec, job_id: str) -> None:
        """Queue a job's first step again, unless it is waiting or running already."""
        if self._alive([job_id]):
            return
        arguments = spec.model_dump(mode="json", exclude_defaults=True, exclude=set(POSITIONAL))
        self._queue.enqueue_call(
            EMBED_FILE,
            (spec.input, spec.output),
            arguments,
            job_id=job_id,
            description=f"{job_id}: embed {spec.input}",
        )

    def lost(self, jobs: Mapping[str, str]) -> set[str]:
        """Those of some running jobs that have no step that waits or runs.

        Args:
            jobs: the RQ jobs that started them, by their ids.
        """
        queue = self._queue
        with queue.connection.pipeline() as pipe:
            pipe.llen(queue.key)
            pipe.lrange(queue.key, 0, MAX_SCANNED)
            pipe.lrange(queue.intermediate_queue_key, 0, -1)
            pipe.zrange(queue.started_job_registry.key, 0, -1)
            pipe.zrange(queue.scheduled_job_registry.key, 0, -1)
            waiting, *found = pipe.execute()
        if waiting > MAX_SCANNED:
            return set()
        alive = {name.decode().split(":")[0] for names in found for name in names}  # a running one's is ID:EXECUTION
        alive |= {rq_id.rpartition("-")[0] for rq_id in alive}  # a shard's or an end's begins with the job's
        return {job_id for job_id, rq_id in jobs.items() if not {job_id, rq_id} & alive}

    def _alive(self, rq_ids: list[str]) -> set[str]:
        """Those of some steps that wait or run. A step whose status is queued must be in the queue, too."""
        with self._queue.connection.pipeline() as pipe:
            for rq_id in rq_ids:
                pipe.hget(Job.key_for(rq_id), "status")
            statuses = dict(zip(rq_ids, pipe.execute(), strict=True))
        running = {rq_id for rq_id, status in statuses.items() if status in _RUNNING}
        queued = {rq_id for rq_id, status in statuses.items() if status == _QUEUED}
        return running | (queued & self._waiting() if queued else set())

    def _waiting(self) -> set[str]:
        with self._queue.connection.pipeline() as pipe:
            pipe.lrange(self._queue.key, 0, -1)
            pipe.lrange(self._queue.intermediate_queue_key, 0, -1)
            return {rq_id.decode() for found in pipe.execute() for rq_id in found}
