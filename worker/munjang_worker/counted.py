"""One shard done with the model of this process: confined, timed and counted. The work itself is `shard`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from munjang.errors import EngineUnavailable
from munjang_worker.roots import confine, split_roots
from munjang_worker.shard import ShardJob

if TYPE_CHECKING:
    from munjang_worker.plan import Plan
    from munjang_worker.runtime import Runtime
    from munjang_worker.storage import Folder
    from munjang_worker.tally import Tally
    from munjang_worker.writing.result import ShardResult

log = structlog.get_logger("munjang.worker")


def run_shard(runtime: Runtime, plan: Plan, folder: Folder, number: int) -> ShardResult:
    """Do a shard with the plan's version.

    Raises:
        InvalidJob: the input has changed, or must not be read.
        JobConflict: this worker's registry has another model under the version's number.
        EngineUnavailable: the model fails whatever the text; this process is to end.
    """
    settings = runtime.settings
    for segment in plan.shards[number].segments:  # the plan lies where others may write
        confine(plan.files[segment.file].url, split_roots(settings.input_roots), "input")
    shard = ShardJob(plan, number, folder, runtime.name)
    report = _Counter(runtime)
    try:
        encoder = runtime.models.get(plan.version, plan.identity["model"])
        result = shard.run(encoder, max_chars=settings.max_row_chars, poll=runtime.interrupts.poll, report=report)
    except EngineUnavailable:
        runtime.models.drop()
        runtime.broken = True
        raise
    runtime.metrics.shard_seconds.observe(result.seconds)
    runtime.metrics.truncated.inc(result.truncated)
    _tell(plan, result)
    return result


class _Counter:
    """Tells the heart-beat and the metrics how a shard goes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        metrics = runtime.metrics
        self._counts = {"rows": metrics.rows.labels("encoded"), "failed": metrics.rows.labels("failed")}
        self._counts["tokens"] = metrics.tokens
        self._seen = dict.fromkeys(self._counts, 0)

    def __call__(self, tally: Tally) -> None:
        self._runtime.activity.progress = tally.progress(self._runtime.name)
        for name, metric in self._counts.items():
            now = getattr(tally, name)
            metric.inc(now - self._seen[name])
            self._seen[name] = now


def _tell(plan: Plan, result: ShardResult) -> None:
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
