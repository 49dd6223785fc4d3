"""The job contract between server, command line and worker: names only, so none of them imports another.

`job` defines a job's options and state, `serializer` how plain data crosses Redis. The worker does the work;
`munjang.client.jobs` submits and follows jobs.
"""

from __future__ import annotations

QUEUE = "munjang"
"""The RQ queue that bulk jobs wait in."""

EMBED_FILE = "munjang_worker.jobs.embed_file"
"""The function path of a bulk job, as `rq enqueue` names it: plans the job and enqueues its shards."""

EMBED_SHARD = "munjang_worker.jobs.embed_shard"
"""The function path of one shard of a planned job; only workers enqueue it."""

FINISH_FILE = "munjang_worker.jobs.finish_file"
"""The function path of a job's last step; only workers enqueue it."""

LOAD_SHARD = "munjang_worker.jobs.load_shard"
"""The function path of the loading of one shard into a search index; only workers enqueue it."""

FINISH_LOAD = "munjang_worker.jobs.finish_load"
"""The function path of the end of a job that loads into a search index; only workers enqueue it."""

_FORMER_NAMES = {path.removeprefix("munjang_"): path for path in (EMBED_FILE, EMBED_SHARD, FINISH_FILE)}
"""The function paths before the worker's package was renamed: jobs that still wait in Redis, and scripts, have them."""

MANIFEST = "manifest.json"
"""The file in the output folder that marks success."""

ERRORS = "errors.jsonl"
"""The file in the output folder of the rows that have no vector: one JSON object per line, with row, id and reason."""


def function_name(path: object) -> str:
    """The current name of a job's function, whatever release named it; "" for what is no name at all."""
    return _FORMER_NAMES.get(path, path) if isinstance(path, str) else ""
