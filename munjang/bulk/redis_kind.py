"""Which Redis the job queue cannot be: a Cluster, or a Sentinel. Connecting is left to the client and the worker."""

from __future__ import annotations

from typing import Any

_REASONS = {
    "cluster": "a Redis Cluster cannot be the job queue, which needs all its keys on one server: name one Redis or "
    "Valkey that is no part of a cluster",
    "sentinel": "a Sentinel cannot be the job queue: name the server that it watches, or an address that follows it",
    "several": "the job queue has one address, not several: Redis Cluster and Sentinel are not supported; name one "
    "Redis or Valkey",
}


def refusal_of_url(url: str) -> str:
    """Why a URL cannot be the job queue's, seen before any connection; "" if it may be."""
    scheme, _, rest = url.partition("://")
    found = next((kind for kind in ("cluster", "sentinel") if kind in scheme.lower()), "")
    if not found and "," in rest.partition("/")[0].rpartition("@")[2]:
        found = "several"
    return _REASONS.get(found, "")


def refusal_of_server(connection: Any) -> str:
    """Why the server behind a connection cannot be the job queue, by what it says of itself; "" if it can."""
    return _REASONS.get(str(connection.info("server").get("redis_mode", "")), "")
