"""How a bulk job stands: its states, its progress, and how they are kept in Redis. Reads and writes no Redis itself.

munjang:jobs                 sorted set of job ids by the time they were made
munjang:running              set of the ids of jobs that were begun; those that have ended are taken out
munjang:job:<id>             hash: spec, state, version, totals, counts of committed shards, times, message
munjang:job:<id>:done        set of the numbers of committed shards
munjang:job:<id>:running     hash: number of a shard being worked on → its `ShardProgress` as JSON
munjang:rq:<rq id>           the job id that an RQ job of `rq enqueue` stands for
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from munjang.bulk.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JOBS = "munjang:jobs"
"""The key of the sorted set of job ids."""

RUNNING = "munjang:running"
"""The key of the set of jobs that may be running."""

STALE_SECONDS = 60.0
"""A running shard that reported nothing for so long is not counted: its worker is gone."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless it is submitted again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a worker says of the shard that it works on; rows include failed ones, times are seconds since the epoch."""

    rows: int
    failed: int
    tokens: int
    rows_per_second: float
    worker: str
    at: float

    def dumps(self) -> str:
        """As it is kept in Redis."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What a job has done so far. Totals are 0 until they are known; `rows_done` includes failed rows."""

    rows_done: int = 0
    rows_total: int = 0
    rows_failed: int = 0
    tokens_done: int = 0
    shards_done: int = 0
    shards_running: int = 0
    shards_total: int = 0
    rows_per_second: float = 0.0
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands. `version` is 0 until the job is planned."""

    id: str
    spec: JobSpec
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    version: int = 0
    message: str = ""
    progress: JobProgress = field(default_factory=JobProgress)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `munjang jobs status --json` prints it."""
        return {
            "id": self.id,
            "state": str(self.state),
            "version": self.version,
            "message": self.message,
            "created_at": _text(self.created_at),
            "started_at": _text(self.started_at),
            "ended_at": _text(self.ended_at),
            "progress": asdict(self.progress),
            "spec": self.spec.model_dump(mode="json"),
        }


def job_key(job_id: str) -> str:
    """The key of a job's hash."""
    return f"munjang:job:{job_id}"


def done_key(job_id: str) -> str:
    """The key of the set of committed shards."""
    return f"munjang:job:{job_id}:done"


def running_key(job_id: str) -> str:
    """The key of the hash of shards being worked on."""
    return f"munjang:job:{job_id}:running"


def rq_key(rq_id: str) -> str:
    """The key that says which job an RQ job stands for."""
    return f"munjang:rq:{rq_id}"


def new_fields(spec: JobSpec, rq_id: str, now: float) -> dict[str, str | float]:
    """The hash of a job that waits in the queue as the RQ job `rq_id`."""
    return {"spec": spec.model_dump_json(), "state": str(JobState.QUEUED), "created_at": now, "rq_id": rq_id}


def parse_job(job_id: str, fields: Mapping[bytes, bytes], running: Iterable[bytes], now: float) -> Job:
    """A job of what Redis holds.

    Args:
        job_id: its id.
        fields: its hash.
        running: the values of its running hash.
        now: seconds since the epoch.

    Raises:
        ValueError: the hash is not one of this format.
    """
    text = {name.decode(): value.decode() for name, value in fields.items()}
    shards = [ShardProgress(**json.loads(value)) for value in running]
    state = JobState(text["state"])
    alive = [shard for shard in shards if state is JobState.RUNNING and now - shard.at < STALE_SECONDS]
    started = _time(text.get("started_at"))
    return Job(
        id=job_id,
        spec=JobSpec.model_validate_json(text["spec"]),
        state=state,
        created_at=_time(text.get("created_at")) or datetime.fromtimestamp(0, UTC),
        started_at=started,
        ended_at=_time(text.get("ended_at")),
        version=int(text.get("version") or 0),
        message=text.get("message", ""),
        progress=_progress(text, alive, now - started.timestamp() if started else 0.0),
    )


def _progress(text: Mapping[str, str], running: list[ShardProgress], seconds: float) -> JobProgress:
    counts = {name: int(text.get(name) or 0) for name in ("rows_done", "rows_failed", "tokens_done", "shards_done")}
    done = counts["rows_done"] + sum(shard.rows for shard in running)
    total = int(text.get("rows_total") or 0)
    rate = sum(shard.rows_per_second for shard in running)
    if not rate and seconds > 0 and text["state"] == JobState.RUNNING:
        rate = done / seconds
    return JobProgress(
        rows_done=done,
        rows_total=total,
        rows_failed=counts["rows_failed"] + sum(shard.failed for shard in running),
        tokens_done=counts["tokens_done"] + sum(shard.tokens for shard in running),
        shards_done=counts["shards_done"],
        shards_running=len(running),
        shards_total=int(text.get("shards_total") or 0),
        rows_per_second=rate,
        seconds_left=max(0, total - done) / rate if rate and total else 0.0,
    )


def _time(value: str | None) -> datetime | None:
    return datetime.fromtimestamp(float(value), UTC) if value else None


def _text(value: datetime | None) -> str:
    return value.isoformat(timespec="milliseconds") if value else ""
