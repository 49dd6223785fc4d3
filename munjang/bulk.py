"""The job contract between server, CLI and worker: names only, so that none of them imports another."""

from __future__ import annotations

QUEUE = "munjang"
"""The RQ queue that bulk jobs wait in."""

EMBED_FILE = "worker.jobs.embed_file"
"""The function path of a bulk job, as `rq enqueue` names it."""
