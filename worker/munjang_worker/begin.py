"""The first step of a job: claim it, plan it or take up its plan, and queue the shards that are not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import JobState
from munjang.errors import JobConflict
from munjang_worker.board import Claim
from munjang_worker.finish import check_shards, load_manifest
from munjang_worker.plan import PLAN, Plan, load_plan, refuse_other_work
from munjang_worker.planning import PlanSettings, make_plan
from munjang_worker.reading.staging import STAGED
from munjang_worker.roots import confine, split_roots
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from munjang.bulk.job import JobSpec
    from munjang_worker.runtime import Runtime

log = structlog.get_logger("munjang.worker")


def begin(runtime: Runtime, spec: JobSpec, rq_id: str, timeout: float | None) -> dict[str, Any]:
    """Begin or take up a job; plain data about it.

    Raises:
        InvalidJob, InvalidRequest: what is asked for cannot be done.
        JobConflict: the output folder holds other work.
        VersionNotFound, RegistryError: the version cannot be had.
    """
    if refusal := _claim(runtime, spec, rq_id):
        return refusal
    runtime.activity.job_id = spec.job_id
    confine(spec.output, split_roots(runtime.settings.output_roots), "output")
    folder = Folder(spec.output)
    plan = _plan(runtime, spec, folder)
    if refusal := _claim(runtime, spec, rq_id):  # again: a Redis that was killed meanwhile may have lost the first
        return refusal
    runtime.board.planned(plan)
    left = _count_finished(runtime, plan, folder)
    if left:
        runtime.steps.enqueue_shards(plan, left, timeout)
    elif load_manifest(folder) is None:
        runtime.steps.enqueue_finish(plan, timeout)
    else:
        folder.remove(STAGED)
        runtime.board.end(plan.job, JobState.SUCCEEDED, "nothing was left to do")
    log.info("job planned", job=plan.job, version=plan.version, rows=plan.rows, shards=len(plan.shards), left=len(left))
    return {
        "job": plan.job,
        "version": plan.version,
        "rows": plan.rows,
        "shards": len(plan.shards),
        "shards_left": len(left),
    }


def _claim(runtime: Runtime, spec: JobSpec, rq_id: str) -> dict[str, Any] | None:
    """Claim a job; None if it is ours now, else plain data about why it is not."""
    claim = runtime.board.claim(spec, rq_id)
    if claim is Claim.BEGIN:
        return None
    log.info("job not begun", job=spec.job_id, why=claim.name.lower(), rq=rq_id)
    return {"job": spec.job_id, "state": claim.name.lower()}


def _plan(runtime: Runtime, spec: JobSpec, folder: Folder) -> Plan:
    old = load_plan(folder)
    if old is None:
        _refuse_strangers(folder)
    elif old.job != spec.job_id and runtime.board.state(old.job) is JobState.RUNNING:
        msg = f"{old.job} is at work in {spec.output!r}; wait for its end, or choose another folder"
        raise JobConflict(msg, field="output")
    version = runtime.registry.resolve(spec.version)
    if old is not None and old.job == spec.job_id and load_manifest(folder) is None:
        version = old.version  # an unfinished job keeps the version that it began with
    settings = PlanSettings(
        input_roots=split_roots(runtime.settings.input_roots),
        shard_rows=old.shard_rows if old else spec.shard_rows or runtime.settings.shard_rows,
        batch_tokens=old.batch_tokens if old else runtime.settings.batch_tokens,
    )
    plan = make_plan(spec, runtime.registry.manifest(version), folder, settings, runtime.interrupts.poll)
    if old is not None:
        refuse_other_work(old.identity, plan.identity, spec.output)
    plan.save(folder)
    return plan


def _count_finished(runtime: Runtime, plan: Plan, folder: Folder) -> list[int]:
    """Count the finished shards; the numbers of the others. Without them a manifest is not true, and goes."""
    results, missing = check_shards(plan, folder, runtime.interrupts.poll, deep=False)
    if missing:
        folder.remove(MANIFEST)
    for result in results:
        runtime.board.shard_done(plan.job, result)
    return missing


def _refuse_strangers(folder: Folder) -> None:
    """Refuse a folder without a plan that holds files which this job would write."""
    for name in folder.names():
        if name in {MANIFEST, ERRORS} or name.startswith("part-"):
            msg = f"{folder.url!r} holds {name!r}, and no plan ({PLAN}) that says whose it is; choose another folder"
            raise JobConflict(msg, field="output")
