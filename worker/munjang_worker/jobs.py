"""The functions that RQ calls by name: `embed_file` plans a job and tells its end; the other two are its further steps.

    rq enqueue --queue munjang munjang_worker.jobs.embed_file INPUT OUTPUT precision=int8 carry_columns=title,url

They run in munjang's own workers and look at the output folder first, so they can be run again at any time.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from rq import get_current_job

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import JobSpec, JobState, absolute
from munjang.errors import EngineUnavailable, InvalidJob, JobConflict, JobError
from munjang_worker.finalize_job import check_shards, load_manifest, write_errors, write_manifest
from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.plan import load_plan
from munjang_worker.plan_job import plan_job
from munjang_worker.runtime import current
from munjang_worker.shard import ShardJob, load_result
from munjang_worker.storage import Folder, confine, split_roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from munjang_worker.plan import Plan
    from munjang_worker.runtime import Runtime
    from munjang_worker.shard import ShardCounts, ShardResult

log = structlog.get_logger("munjang.worker")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What `embed_file` returns while the job `job_id` goes on: RQ's job is deferred, and runs again at its end."""

    job_id: str


class JobFailed(JobError):
    """The job of an RQ job has failed, and its record says so already."""


def embed_file(*args: Any, **kwargs: Any) -> dict[str, Any] | Unfinished:
    """Do a job: its options are `JobSpec`'s. The first run plans it; its shards and its end follow as RQ jobs.

    RQ's job runs again when all that has ended, and then gives the result: what depends on it begins no sooner.

    Raises:
        InvalidJob: an option is wrong, or the input cannot be used.
        JobConflict: the output folder holds other work.
        JobFailed: the job was begun, and has failed.
    """
    runtime = current()
    spec = JobSpec.of_call(args, kwargs)
    job = get_current_job()
    rq_id = job.id if job else spec.job_id
    state = runtime.jobs.state(spec.job_id)
    if state is None or not state.ended or not runtime.jobs.waits(rq_id):
        with _step(runtime, "plan", spec.job_id, begun=False):
            plan_job(runtime, spec, rq_id, job.timeout if job else None)
    return _outcome(runtime, spec)


def embed_shard(job_id: str, output: str, fingerprint: str, number: int) -> dict[str, Any]:
    """Do one shard of a planned job, unless it is finished or the job has ended.

    Raises:
        InvalidJob: there is no such shard, or the input has changed or must not be read.
        JobConflict: the output folder holds another plan.
    """
    runtime = current()
    with _step(runtime, "shard", job_id, number):
        state = runtime.jobs.state(job_id)
        if state is not JobState.RUNNING:
            return _skipped(job_id, state)
        folder, plan = _open_plan(runtime, job_id, output, fingerprint)
        if not 0 <= number < len(plan.shards):
            msg = f"the job has no shard {number}"
            raise InvalidJob(msg)
        result = load_result(folder, number)
        if result is None:
            result = _run_shard(runtime, plan, folder, number)
        _report(runtime, plan, folder, result)
    return {"job": job_id, "shard": number, "rows": result.rows, "failed": result.failed}


def finish_file(job_id: str, output: str, fingerprint: str) -> dict[str, Any]:
    """Verify a job's shards and write its manifest, or queue again what is missing.

    Raises:
        JobConflict: the output folder holds another plan.
        JobError: more rows failed than the job allows.
    """
    runtime = current()
    with _step(runtime, "finish", job_id):
        state = runtime.jobs.state(job_id)
        if state is not JobState.RUNNING:
            return _skipped(job_id, state)
        folder, plan = _open_plan(runtime, job_id, output, fingerprint)
        results, missing = check_shards(plan, folder, runtime.interrupts.poll, deep=True)
        if missing:
            folder.remove(MANIFEST)
            for number in missing:
                runtime.jobs.shard_undone(job_id, number)
            runtime.steps.enqueue_shards(plan, missing, _time_limit())
            log.warning("shards are missing or damaged and are done again", job=job_id, shards=missing)
            return {"job": job_id, "missing": len(missing)}
        failed = sum(result.failed for result in results)
        _check_error_rate(runtime, plan, folder, failed)
        manifest = load_manifest(folder) or write_manifest(plan, results, folder)
        counts = {name: manifest[field] for name, field in _COUNTS.items()}
        runtime.jobs.end(job_id, JobState.SUCCEEDED, shards_done=len(results), **counts)
        runtime.jobs.mirror(job_id)
        log.info("job finished", job=job_id, version=plan.version, **counts)
        return {"job": job_id, "output": output, "version": plan.version, "space_id": plan.space_id, **counts}


def _outcome(runtime: Runtime, spec: JobSpec) -> dict[str, Any] | Unfinished:
    """The result of a job for RQ, once it has succeeded."""
    found = runtime.jobs.outcome(spec.job_id)
    if found.get("state") == JobState.FAILED:
        raise JobFailed(found.get("message", ""))
    if found.get("state") != JobState.SUCCEEDED:
        return Unfinished(spec.job_id)
    counts = {field: int(found.get(name, 0)) for name, field in _COUNTS.items()}
    made_by = {"version": int(found.get("version", 0)), "space_id": found.get("space_id", "")}
    return {"job": spec.job_id, "output": spec.output, **made_by, **counts}


_COUNTS = {"rows_done": "rows", "rows_failed": "rows_failed", "tokens_done": "tokens"}
"""The record's counts, and where the manifest has them."""


def _report(runtime: Runtime, plan: Plan, folder: Folder, result: ShardResult) -> None:
    """Count the shard; after the last one, queue the job's last step."""
    done, failed = runtime.jobs.shard_done(plan.job, result)
    if not done:  # Redis has lost the record: the output folder has all that is needed to continue
        runtime.steps.enqueue_plan(plan.spec, plan.job)
        return
    _check_error_rate(runtime, plan, folder, failed)
    if done >= len(plan.shards):
        runtime.steps.enqueue_finish(plan, _time_limit())


def _check_error_rate(runtime: Runtime, plan: Plan, folder: Folder, failed: int) -> None:
    """Fail the job once more rows failed than it allows; its error file lists them."""
    rate = plan.spec.max_error_rate
    limit = runtime.settings.max_error_rate if rate is None else rate
    if failed > limit * plan.rows:
        write_errors(check_shards(plan, folder, runtime.interrupts.poll, deep=False)[0], folder)
        msg = f"{failed} of {plan.rows} rows failed, and max_error_rate is {limit}; see {folder.path(ERRORS)}"
        raise JobError(msg)


def _open_plan(runtime: Runtime, job_id: str, output: str, fingerprint: str) -> tuple[Folder, Plan]:
    output = absolute(output)
    confine(output, split_roots(runtime.settings.output_roots), "output")
    folder = Folder(output)
    plan = load_plan(folder)
    if plan is None or (plan.job, plan.fingerprint) != (job_id, fingerprint):
        msg = f"the plan in {output!r} is gone, or that of other work"
        raise JobConflict(msg, field="output")
    return folder, plan


def _skipped(job_id: str, state: JobState | None) -> dict[str, Any]:
    return {"job": job_id, "skipped": f"the job is {state or 'not known'}"}


def _run_shard(runtime: Runtime, plan: Plan, folder: Folder, number: int) -> ShardResult:
    """Do a shard with the plan's version; a model that fails whatever the text ends this process afterwards."""
    settings = runtime.settings
    for segment in plan.shards[number].segments:  # others may have written the plan
        confine(plan.files[segment.file].url, split_roots(settings.input_roots), "input")
    shard = ShardJob(plan, number, folder, runtime.name)
    report = _reporter(runtime)
    try:
        encoder = runtime.models.get(plan.version, plan.identity["model"])
        result = shard.run(encoder, max_chars=settings.max_row_chars, poll=runtime.interrupts.poll, report=report)
    except EngineUnavailable:
        runtime.models.drop()
        runtime.broken = True
        raise
    runtime.metrics.shard_seconds.observe(result.seconds)
    runtime.metrics.truncated.inc(result.truncated)
    seconds = max(result.seconds, 0.001)
    log.info(
        "shard finished",
        job=plan.job,
        shard=result.number,
        version=plan.version,
        rows=result.rows,
        failed=result.failed,
        seconds=result.seconds,
        rows_per_second=round(result.rows / seconds, 1),
        tokens_per_second=round(result.tokens / seconds, 1),
    )
    return result


def _reporter(runtime: Runtime) -> Callable[[ShardCounts], None]:
    """A function that passes a shard's counts on to the heartbeat and the metrics."""
    metrics = runtime.metrics
    counters = {
        "rows": metrics.rows.labels("encoded"),
        "failed": metrics.rows.labels("failed"),
        "tokens": metrics.tokens,
    }
    seen = dict.fromkeys(counters, 0)

    def report(counts: ShardCounts) -> None:
        runtime.activity.progress = counts.progress(runtime.name)
        for name, counter in counters.items():
            now = getattr(counts, name)
            counter.inc(now - seen[name])
            seen[name] = now

    return report


@contextmanager
def _step(runtime: Runtime, name: str, job_id: str, shard: int = -1, *, begun: bool = True) -> Iterator[None]:
    """Tell the heartbeat what this process works on; count and log how the step ended.

    The heartbeat stops a step whose job has ended; it must not know of a job that the step itself starts (not `begun`).
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
            runtime.jobs.end(job_id, JobState.CANCELLED, error.reason.value)
        raise
    finally:
        runtime.activity.job_id, runtime.activity.shard = "", -1
        if shard >= 0:
            runtime.jobs.shard_stopped(job_id, shard)
        runtime.metrics.steps.labels(name, outcome).inc()
        log.debug("step ended", step=name, job=job_id, shard=shard, outcome=outcome, seconds=time.monotonic() - started)


def _time_limit() -> float | None:
    """The time limit of the current step, which its further steps get too."""
    job = get_current_job()
    return job.timeout if job else None
