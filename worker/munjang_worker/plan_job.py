"""The first step of a job: claim it, make its plan or resume from it, and queue the unfinished shards.

Making a plan reads the input once and refuses early what cannot work.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from munjang.bulk import ERRORS, MANIFEST
from munjang.bulk.job import JobState
from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import OutputOptions
from munjang.encoder.prompting import prompting
from munjang.errors import JobConflict
from munjang.vectors import Precision
from munjang_worker.finalize_job import check_shards, load_manifest
from munjang_worker.job_store import Claim
from munjang_worker.plan import PLAN, STAGED, Plan, ShardBuilder, load_plan, require_same_work, serialize_schema
from munjang_worker.reader import split_input
from munjang_worker.sources import describe_left_out, find_sources
from munjang_worker.storage import Folder, confine, split_roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.bulk.job import JobSpec
    from munjang.registry.layout import Manifest
    from munjang_worker.block import Columns
    from munjang_worker.plan import InputFile, LeftOut
    from munjang_worker.runtime import Runtime

log = structlog.get_logger("munjang.worker")

BLOCK_ROWS = 1024
"""Rows of a block for each BLOCK_TOKENS of the batch budget: enough for several batches of texts of similar length."""

BLOCK_TOKENS = 4096

MAX_BLOCKS = 16

MAX_LOGGED = 20
"""Files left out of an input that get a line in the log; the manifest has them all."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How to split: by the worker's settings, or as a resumed job was split. See `WorkerSettings`."""

    input_roots: tuple[str, ...]
    shard_rows: int
    batch_tokens: int


def plan_job(runtime: Runtime, spec: JobSpec, rq_id: str, timeout: float | None) -> None:
    """Start or resume a job, unless the same work is being done or was cancelled.

    Raises:
        InvalidJob, InvalidRequest: what is asked for cannot be done.
        JobConflict: the output folder holds other work.
        VersionNotFound, RegistryError: the version cannot be had.
    """
    if not _claim(runtime, spec, rq_id):
        return
    runtime.activity.job_id = spec.job_id
    confine(spec.output, split_roots(runtime.settings.output_roots), "output")
    folder = Folder(spec.output)
    folder.prepare()
    plan = _plan(runtime, spec, folder)
    if not _claim(runtime, spec, rq_id):  # again: a Redis that was killed meanwhile may have lost the first
        return
    runtime.jobs.planned(plan, describe_left_out(plan.left_out))
    for one in plan.left_out[:MAX_LOGGED]:
        log.warning("left out of the input", job=plan.job, file=one.name, why=one.why)
    left = _count_finished(runtime, plan, folder)
    if left:
        runtime.steps.enqueue_shards(plan, left, timeout)
    elif load_manifest(folder) is None:
        runtime.steps.enqueue_finish(plan, timeout)
    else:
        folder.remove(STAGED)
        runtime.jobs.end(plan.job, JobState.SUCCEEDED, "nothing was left to do")
    log.info(
        "job planned",
        job=plan.job,
        version=plan.version,
        space_id=plan.space_id,
        rows=plan.rows,
        shards=len(plan.shards),
        left=len(left),
        left_out=len(plan.left_out),
    )


def make_plan(
    spec: JobSpec, manifest: Manifest, folder: Folder, settings: PlanSettings, poll: Callable[[], None]
) -> Plan:
    """Plan a job on one version. Leaves parts of compressed input in the folder, but does not save the plan.

    Args:
        spec: what is asked for.
        manifest: the version's manifest.
        folder: the output folder.
        settings: how to split.
        poll: called often; what it raises ends the planning.

    Raises:
        InvalidJob: the input, its columns or an option cannot be used.
        InvalidRequest: the version cannot give what is asked for.
    """
    check_options(spec, manifest)
    left_out: list[LeftOut] = []
    sources = find_sources(spec, settings.input_roots, left_out)
    block_rows = BLOCK_ROWS * min(MAX_BLOCKS, -(-settings.batch_tokens // BLOCK_TOKENS))
    shard_rows = -(-settings.shard_rows // block_rows) * block_rows
    builder = ShardBuilder(shard_rows)
    columns, header, files = split_input(sources, spec, builder, folder, poll)
    shards = builder.finish()
    return Plan(
        job=spec.job_id,
        spec=spec,
        version=manifest.version,
        space_id=manifest.space_id,
        dimensions=spec.dimensions or manifest.dimensions,
        int8_scale=manifest.int8_scale if spec.precision is Precision.INT8 else 0.0,
        identity=_identity(spec, manifest, columns, files, sources[0].format),
        format=sources[0].format,
        header=tuple(header),
        text_column=columns.text,
        id_column=columns.id,
        columns=serialize_schema(columns.schema),
        block_rows=block_rows,
        shard_rows=shard_rows,
        batch_tokens=settings.batch_tokens,
        rows=builder.rows,
        files=tuple(files),
        left_out=tuple(left_out),
        shards=shards,
        created_at=time.time(),
    )


def check_options(spec: JobSpec, manifest: Manifest) -> None:
    """Refuse what a version cannot give, before its model is loaded.

    Raises:
        InvalidRequest: the prompt is unknown, or dimensions or precision are not to be had.
    """
    info = ModelInfo(manifest.dimensions, manifest.max_tokens, int8_scale=manifest.int8_scale)
    OutputOptions(spec.dimensions, spec.normalize, spec.precision).check(info)
    prompting(manifest, prompt_name=spec.prompt_name, prompt=spec.prompt, role=spec.role)


def model_digest(manifest: Manifest) -> str:
    """A digest of a version's files."""
    entries = sorted((entry.path, entry.sha256) for entry in manifest.files)
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _claim(runtime: Runtime, spec: JobSpec, rq_id: str) -> bool:
    """Claim a job; whether it is ours now."""
    claim = runtime.jobs.claim(spec, rq_id)
    if claim is not Claim.BEGIN:
        log.info("job not begun", job=spec.job_id, why=claim.name.lower(), rq=rq_id)
    return claim is Claim.BEGIN


def _plan(runtime: Runtime, spec: JobSpec, folder: Folder) -> Plan:
    old = load_plan(folder)
    if old is None:
        _require_own_files(folder)
    elif old.job != spec.job_id and runtime.jobs.state(old.job) is JobState.RUNNING:
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
        require_same_work(old.identity, plan.identity, spec.output)
    plan.save(folder)
    return plan


def _count_finished(runtime: Runtime, plan: Plan, folder: Folder) -> list[int]:
    """Count the finished shards; the numbers of the others. If there are any, a manifest is false and is removed."""
    results, missing = check_shards(plan, folder, runtime.interrupts.poll, deep=False)
    if missing:
        folder.remove(MANIFEST)
    for result in results:
        runtime.jobs.shard_done(plan.job, result)
    return missing


def _require_own_files(folder: Folder) -> None:
    """Refuse a folder without a plan that holds files which this job would write."""
    for name in folder.names():
        if name in {MANIFEST, ERRORS} or name.startswith("part-"):
            msg = f"{folder.url!r} holds {name!r}, and no plan ({PLAN}) that says whose it is; choose another folder"
            raise JobConflict(msg, field="output")


def _identity(
    spec: JobSpec, manifest: Manifest, columns: Columns, files: list[InputFile], input_format: str
) -> dict[str, Any]:
    asked = {"role": spec.role, "prompt": spec.prompt}
    default = manifest.default_prompt if spec.role is None and spec.prompt is None else ""
    return {
        "input": [[file.size, file.sha256] for file in files],
        "input_format": input_format,
        "encoding": spec.encoding,
        "quoting": spec.quoting,
        "text_column": columns.text,
        "id_column": columns.id or "",
        "carry_columns": columns.carried,
        "version": manifest.version,
        "model": model_digest(manifest),
        "prompt_name": spec.prompt_name or default,
        "normalize": spec.normalize,
        "dimensions": spec.dimensions or manifest.dimensions,
        "precision": str(spec.precision),
        "truncation": spec.truncation,
        "format": spec.format,
    } | {name: value for name, value in asked.items() if value is not None}
