"""The worker's side of the job records in Redis: what changes, and when it may. `munjang.bulk` defines keys and fields.

Every change is one atomic script, so the records stay right if workers report at the same time, or twice.
Progress is also written into the metadata of RQ jobs, where RQ's own dashboards and programs read it.
"""

from __future__ import annotations

import time
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from rq.job import Job as RqJob

from munjang.bulk.job import (
    JOBS,
    RUNNING,
    WAITING,
    JobState,
    ShardProgress,
    done_key,
    job_key,
    new_fields,
    rq_key,
    running_key,
)
from munjang.bulk.serializer import like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.bulk.job import JobSpec
    from munjang_worker.plan import Plan
    from munjang_worker.shard import ShardResult

_CLAIM = """
local state, owner, planned = unpack(redis.call('HMGET', KEYS[1], 'state', 'rq_id', 'shards_total'))
local mine = owner == ARGV[1]
if state == 'cancelled' and mine then return 2 end
if state == 'running' and not mine then
  local status = redis.call('HGET', ARGV[2] .. owner, 'status')
  if planned or status == 'queued' or status == 'started' or status == 'scheduled' then return 1 end
end
local created = redis.call('HGET', KEYS[1], 'created_at')
if state ~= 'running' or not mine then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
for index = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
if state == 'queued' or state == 'running' then redis.call('HSET', KEYS[1], 'created_at', created) end
redis.call('HSET', KEYS[1], 'state', 'running')
redis.call('HSETNX', KEYS[1], 'started_at', ARGV[4])
redis.call('PERSIST', KEYS[1]); redis.call('PERSIST', KEYS[2]); redis.call('PERSIST', KEYS[3])
redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[1], 'created_at'), ARGV[3])
redis.call('SADD', KEYS[5], ARGV[3])
return 0
"""

_DONE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0} end
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'shards_done', 1)
  redis.call('HINCRBY', KEYS[1], 'rows_done', ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'rows_failed', ARGV[3])
  redis.call('HINCRBY', KEYS[1], 'tokens_done', ARGV[4])
end
redis.call('HDEL', KEYS[3], ARGV[1])
return {redis.call('SCARD', KEYS[2]), tonumber(redis.call('HGET', KEYS[1], 'rows_failed'))}
"""

_UNDONE = """
if redis.call('SREM', KEYS[2], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'shards_done', -1) end
"""

_END = """
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'running' and state ~= 'queued' then return 0 end
for index = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('DEL', KEYS[3])
redis.call('EXPIRE', KEYS[1], ARGV[1]); redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""

_SET_META = """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], 'state') ~= ARGV[2] then return end
redis.call('HSET', KEYS[1], 'meta', ARGV[1])
"""


class Claim(IntEnum):
    """The result of claiming a job's first step."""

    BEGIN = 0
    DUPLICATE = 1
    CANCELLED = 2


class Waiting(NamedTuple):
    """An RQ job that ends when its job has ended.

    Attributes:
        rq_id: its id.
        state: the job's; None if the job is not known (any more).
        status: the RQ job's, as RQ writes it; "" if it is gone.
    """

    rq_id: str
    state: JobState | None
    status: str


class JobStore:
    """The records of all jobs, through one connection."""

    def __init__(self, connection: Any, keep_seconds: int) -> None:
        self._redis = connection
        self._keep = keep_seconds
        self._claim = connection.register_script(_CLAIM)
        self._done = connection.register_script(_DONE)
        self._undone = connection.register_script(_UNDONE)
        self._end = connection.register_script(_END)
        self._set_meta = connection.register_script(_SET_META)

    def claim(self, spec: JobSpec, rq_id: str) -> Claim:
        """Take a job's first step as the RQ job `rq_id`, unless the same work is being done or was cancelled."""
        now = time.time()
        job_id = spec.job_id
        fields = [str(item) for pair in new_fields(spec, rq_id, now).items() for item in pair]
        self._redis.set(rq_key(rq_id), job_id, ex=self._keep)
        return Claim(
            self._claim(
                keys=[*_keys(job_id), JOBS, RUNNING],
                args=[rq_id, RqJob.redis_job_namespace_prefix, job_id, now, *fields],
            )
        )

    def job_of(self, rq_id: str) -> str:
        """The job that an RQ job claimed; "" if none."""
        found = self._redis.get(rq_key(rq_id))
        return str(found.decode()) if found else ""

    def planned(self, plan: Plan, message: str) -> None:
        """Record the plan's version and totals, and what people should know of it."""
        totals = {
            "version": plan.version,
            "space_id": plan.space_id,
            "rows_total": plan.rows,
            "shards_total": len(plan.shards),
            "message": message,
        }
        self._redis.hset(job_key(plan.job), mapping=totals)

    def state(self, job_id: str) -> JobState | None:
        """A job's state; None if the job is not known (any more). One whose RQ job was cancelled is cancelled."""
        state, owner = self._redis.hmget(job_key(job_id), "state", "rq_id")
        began = RqJob.key_for((owner or b"").decode())
        if state == b"running" and self._redis.hget(began, "status") == b"canceled":
            self.end(job_id, JobState.CANCELLED, "cancelled through RQ")
            return JobState.CANCELLED
        return JobState(state.decode()) if state else None

    def shard_running(self, job_id: str, number: int, progress: ShardProgress) -> None:
        """Record the progress of a shard."""
        self._redis.hset(running_key(job_id), str(number), progress.dumps())

    def shard_stopped(self, job_id: str, number: int) -> None:
        """Record that nobody works on a shard."""
        self._redis.hdel(running_key(job_id), str(number))

    def shard_done(self, job_id: str, result: ShardResult) -> tuple[int, int]:
        """Count a committed shard, once; how many are committed now, and how many rows failed in them."""
        args = [result.number, result.rows + result.failed, result.failed, result.tokens]
        count, failed = self._done(keys=_keys(job_id), args=args)
        return int(count), int(failed)

    def shard_undone(self, job_id: str, number: int) -> None:
        """Uncount a shard that has to be done again."""
        self._undone(keys=_keys(job_id), args=[number])

    def end(self, job_id: str, state: JobState, message: str = "", **counts: int) -> bool:
        """End a job, unless it has ended; whether it did. Without a message the one of its planning stays."""
        fields = {"state": str(state), "ended_at": time.time(), **counts} | ({"message": message} if message else {})
        flat = [str(item) for pair in fields.items() for item in pair]
        return bool(self._end(keys=_keys(job_id), args=[self._keep, *flat]))

    def outcome(self, job_id: str) -> dict[str, str]:
        """What is known of a job's end: its state, message, output and counts. Empty if the job is not known."""
        names = ("state", "message", "version", "space_id", "rows_done", "rows_failed", "tokens_done")
        values = zip(names, self._redis.hmget(job_key(job_id), *names), strict=True)
        return {name: value.decode() for name, value in values if value}

    def wait(self, pipe: Any, rq_id: str, job_id: str) -> None:
        """Record, within a transaction, that an RQ job ends when a job has ended."""
        pipe.hset(WAITING, rq_id, job_id)

    def waits(self, rq_id: str) -> bool:
        """Whether an RQ job was put back to end when its job has ended."""
        return bool(self._redis.hexists(WAITING, rq_id))

    def waiting(self, job_id: str = "") -> list[Waiting]:
        """The RQ jobs that wait for a job, or for any."""
        found = [(rq.decode(), job.decode()) for rq, job in self._redis.hgetall(WAITING).items()]
        wanted = [(rq_id, job) for rq_id, job in found if job_id in {"", job}]
        with self._redis.pipeline() as pipe:
            for rq_id, job in wanted:
                pipe.hget(job_key(job), "state")
                pipe.hget(RqJob.key_for(rq_id), "status")
            values = [(value or b"").decode() for value in pipe.execute()]
        return [
            Waiting(rq_id, JobState(state) if state else None, status)
            for (rq_id, _), state, status in zip(wanted, values[::2], values[1::2], strict=True)
        ]

    def forget_waiting(self, rq_id: str) -> None:
        """Record that an RQ job waits no more: it has ended."""
        self._redis.hdel(WAITING, rq_id)

    def write_rq_meta(self, rq_id: str, meta: Mapping[str, Any], *, job_id: str = "", state: str = "") -> None:
        """Write an RQ job's meta data in the format of its sender, if the job still exists.

        Given a state, nothing is written unless the job `job_id` still has it.
        """
        key = RqJob.key_for(rq_id) if rq_id else ""
        data = self._redis.hget(key, "data") if key else None
        if data:
            self._set_meta(keys=[key, job_key(job_id)], args=[like(_decompressed(data)).dumps(dict(meta)), state])

    def mirror(self, job_id: str) -> None:
        """Write a job's state and counts into the RQ job that started it, unless the state has changed meanwhile."""
        words = ("state", "space_id", "rq_id")
        counts = ("rows_done", "rows_total", "rows_failed", "shards_done", "shards_total", "version")
        values = zip((*words, *counts), self._redis.hmget(job_key(job_id), *words, *counts), strict=True)
        found = {name: value.decode() for name, value in values if value}
        rq_id = found.pop("rq_id", "")
        meta = {name: int(value) if name in counts else value for name, value in found.items()}
        self.write_rq_meta(rq_id, {"job": job_id} | meta, job_id=job_id, state=found.get("state", ""))

    def take_over(self, job_id: str, rq_id: str) -> None:
        """Let another RQ job be the one that the job was begun by."""
        self._redis.hset(job_key(job_id), "rq_id", rq_id)

    def running_jobs(self) -> dict[str, str]:
        """The ids of all running jobs, and the RQ jobs that they were begun by."""
        ids = sorted(found.decode() for found in self._redis.smembers(RUNNING))
        with self._redis.pipeline() as pipe:
            for job_id in ids:
                pipe.hmget(job_key(job_id), "state", "rq_id")
            found = dict(zip(ids, pipe.execute(), strict=True))
        ended = [job_id for job_id, (state, _) in found.items() if state != b"running"]
        if ended:
            self._redis.srem(RUNNING, *ended)
        return {job_id: (rq_id or b"").decode() for job_id, (_, rq_id) in found.items() if job_id not in ended}

    def spec_json(self, job_id: str) -> bytes:
        """A job's spec as JSON; empty if it is not known."""
        return bytes(self._redis.hget(job_key(job_id), "spec") or b"")


def _keys(job_id: str) -> list[str]:
    return [job_key(job_id), done_key(job_id), running_key(job_id)]


def _decompressed(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:  # RQ reads such jobs too
        return data
