"""The functions that RQ calls by name: `embed_file` begins a job; the other two are its further steps.

    rq enqueue --queue munjang worker.jobs.embed_file INPUT OUTPUT precision=int8 carry_columns=title,url

They run in munjang's own workers, look at the output folder first, and so may be run again at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from rq import get_current_job

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import JobSpec, JobState, absolute
from munjang.errors import InvalidJob, JobConflict, JobError
from munjang_worker.begin import begin
from munjang_worker.counted import run_shard
from munjang_worker.finish import check_shards, load_manifest, write_errors, write_manifest
from munjang_worker.mirror import mirror_job
from munjang_worker.plan import load_plan
from munjang_worker.roots import confine, split_roots
from munjang_worker.runtime import current
from munjang_worker.step import step, time_limit
from munjang_worker.storage import Folder
from munjang_worker.writing.result import load_result

if TYPE_CHECKING:
    from munjang_worker.plan import Plan
    from munjang_worker.runtime import Runtime
    from munjang_worker.writing.result import ShardResult

log = structlog.get_logger("munjang.worker")


def embed_file(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Begin a job: its options are `JobSpec`'s. Returns at once when it is planned; its shards follow as RQ jobs.

    Raises:
        InvalidJob: an option is wrong, or the input cannot be used.
        JobConflict: the output folder holds other work.
    """
    runtime = current()
    spec = JobSpec.of_call(args, kwargs)
    job = get_current_job()
    with step(runtime, "plan", spec.job_id, begun=False):
        return begin(runtime, spec, job.id if job else spec.job_id, job.timeout if job else None)


def embed_shard(job_id: str, output: str, fingerprint: str, number: int) -> dict[str, Any]:
    """Do one shard of a planned job, unless it is finished or the job has ended.

    Raises:
        InvalidJob: there is no such shard, or the input has changed or must not be read.
        JobConflict: the output folder holds another plan.
    """
    runtime = current()
    with step(runtime, "shard", job_id, number):
        state = runtime.board.state(job_id)
        if state is not JobState.RUNNING:
            return _skipped(job_id, state)
        folder, plan = _open_plan(runtime, job_id, output, fingerprint)
        if not 0 <= number < len(plan.shards):
            msg = f"the job has no shard {number}"
            raise InvalidJob(msg)
        result = load_result(folder, number)
        if result is None:
            result = run_shard(runtime, plan, folder, number)
        _report(runtime, plan, folder, result)
    return {"job": job_id, "shard": number, "rows": result.rows, "failed": result.failed}


def finish_file(job_id: str, output: str, fingerprint: str) -> dict[str, Any]:
    """Verify a job's shards and write its manifest, or queue again what is missing.

    Raises:
        JobConflict: the output folder holds another plan.
        JobError: more rows failed than the job allows.
    """
    runtime = current()
    with step(runtime, "finish", job_id):
        state = runtime.board.state(job_id)
        if state is not JobState.RUNNING:
            return _skipped(job_id, state)
        folder, plan = _open_plan(runtime, job_id, output, fingerprint)
        results, missing = check_shards(plan, folder, runtime.interrupts.poll, deep=True)
        if missing:
            folder.remove(MANIFEST)
            for number in missing:
                runtime.board.shard_undone(job_id, number)
            runtime.steps.enqueue_shards(plan, missing, time_limit())
            log.warning("shards are missing or damaged and are done again", job=job_id, shards=missing)
            return {"job": job_id, "missing": len(missing)}
        failed = sum(result.failed for result in results)
        _check_error_rate(runtime, plan, folder, failed)
        manifest = load_manifest(folder) or write_manifest(plan, results, folder)
        counts = {name: manifest[field] for name, field in _COUNTS.items()}
        runtime.board.end(job_id, JobState.SUCCEEDED, shards_done=len(results), **counts)
        mirror_job(runtime.connection, runtime.board, job_id)
        log.info("job finished", job=job_id, version=plan.version, **counts)
        return {"job": job_id, "output": output, "version": plan.version, **counts}


_COUNTS = {"rows_done": "rows", "rows_failed": "rows_failed", "tokens_done": "tokens"}
"""The record's counts, and where the manifest has them."""


def _report(runtime: Runtime, plan: Plan, folder: Folder, result: ShardResult) -> None:
    """Count the shard; after the last one the job's end is queued."""
    done, failed = runtime.board.shard_done(plan.job, result)
    if not done:  # Redis has lost the record: the output folder has all that is needed to go on
        runtime.steps.enqueue_plan(plan.spec, plan.job)
        return
    _check_error_rate(runtime, plan, folder, failed)
    if done >= len(plan.shards):
        runtime.steps.enqueue_finish(plan, time_limit())


def _check_error_rate(runtime: Runtime, plan: Plan, folder: Folder, failed: int) -> None:
    """Fail the job once so many rows failed that no good row can save it; its error file says which."""
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
