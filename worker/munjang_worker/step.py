"""What every step of a job does beside its work: it is told of, counted and logged, and stops when it shall."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from rq import get_current_job

from munjang.bulk.job import JobState
from munjang_worker.interrupts import Interrupted, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from munjang_worker.runtime import Runtime

log = structlog.get_logger("munjang.worker")


@contextmanager
def step(runtime: Runtime, name: str, job_id: str, shard: int = -1, *, begun: bool = True) -> Iterator[None]:
    """Say what the process is at, and count how it ended.

    The heart-beat stops a step whose job has ended; of a job that is not `begun` by this step it must not hear yet.
    """
    runtime.activity.job_id, runtime.activity.shard = job_id if begun else "", shard
    runtime.activity.progress = None
    outcome = "failed"
    started = time.monotonic()
    try:
        runtime.interrupts.poll()
        yield
        outcome = "done"
    except Interrupted as error:
        outcome = "interrupted"
        log.info("step interrupted", step=name, job=job_id, shard=shard, why=str(error))
        if error.reason is Reason.STOPPED:
            runtime.board.end(job_id, JobState.CANCELLED, error.reason.value)
        raise
    finally:
        runtime.activity.job_id, runtime.activity.shard = "", -1
        if shard >= 0:
            runtime.board.shard_stopped(job_id, shard)
        runtime.metrics.steps.labels(name, outcome).inc()
        log.debug("step ended", step=name, job=job_id, shard=shard, outcome=outcome, seconds=time.monotonic() - started)


def time_limit() -> float | None:
    """The time limit of the step in hand, which its further steps get too."""
    job = get_current_job()
    return job.timeout if job else None
