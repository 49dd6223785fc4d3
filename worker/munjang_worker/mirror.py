"""Progress as the meta data of RQ jobs, where RQ's own dashboards and programs look for it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from rq.job import Job

from munjang.bulk.job import job_key
from munjang.bulk.serializer import like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang_worker.board import Board

_SET = """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], 'state') ~= ARGV[2] then return end
redis.call('HSET', KEYS[1], 'meta', ARGV[1])
"""


def mirror(connection: Any, rq_id: str, meta: Mapping[str, Any]) -> None:
    """Write an RQ job's meta data in the format of its sender, if the job is still there."""
    _write(connection, rq_id, meta, "", "")


def mirror_job(connection: Any, board: Board, job_id: str) -> None:
    """Write how a job stands into the RQ job that it was begun by; who comes late with an older state, nothing."""
    counts = board.counts(job_id)
    _write(connection, board.owner(job_id), {"job": job_id} | counts, job_id, str(counts.get("state", "")))


def _write(connection: Any, rq_id: str, meta: Mapping[str, Any], job_id: str, state: str) -> None:
    if not rq_id:
        return
    key = Job.key_for(rq_id)
    data = connection.hget(key, "data")
    if data:
        connection.eval(_SET, 2, key, job_key(job_id), like(_plain(data)).dumps(dict(meta)), state)


def _plain(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:  # RQ reads such jobs too
        return data
