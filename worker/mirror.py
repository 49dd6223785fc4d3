"""Progress as the meta data of RQ jobs, where RQ's own dashboards and programs look for it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from rq.job import Job

from munjang.bulk.serializer import like

if TYPE_CHECKING:
    from collections.abc import Mapping

_SET = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'meta', ARGV[1]) end"


def mirror(connection: Any, rq_id: str, meta: Mapping[str, Any]) -> None:
    """Write an RQ job's meta data in the format of its sender, if the job is still there."""
    if not rq_id:
        return
    key = Job.key_for(rq_id)
    data = connection.hget(key, "data")
    if data:
        connection.eval(_SET, 1, key, like(_plain(data)).dumps(dict(meta)))


def _plain(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:  # RQ reads such jobs too
        return data
