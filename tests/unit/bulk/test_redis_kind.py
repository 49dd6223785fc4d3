"""A Redis Cluster or a Sentinel is refused by name, by its URL or by what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from munjang.bulk.redis_kind import refusal_of_server, refusal_of_url
from munjang.client.jobs import JobQueue
from munjang.errors import ConfigurationError, QueueUnavailable
from munjang_worker.connection import check_server, connect_without_retries


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis+sentinel://10.0.0.1:26379/mymaster/0", "Sentinel"),
        ("sentinel://10.0.0.1", "Sentinel"),
        ("rediss+cluster://10.0.0.1:6379", "Cluster"),
        ("redis-cluster://10.0.0.1:6379", "Cluster"),
        ("redis://10.0.0.1:6379,10.0.0.2:6379/0", "one address"),
        ("redis://user:p,w@10.0.0.1:6379,10.0.0.2:6379", "one address"),
    ],
)
def test_a_url_of_a_cluster_or_a_sentinel_is_refused_by_name(url: str, named: str) -> None:
    with pytest.raises(QueueUnavailable, match=named):
        JobQueue(url)
    with pytest.raises(ConfigurationError, match=named):
        connect_without_retries(url)


@pytest.mark.parametrize(
    "url", ["redis://:p,w@10.0.0.1:6379/0", "rediss://sentinel.example:6379", "unix:///run/cluster,1.sock"]
)
def test_other_urls_are_left_alone(url: str) -> None:
    assert refusal_of_url(url) == ""


@pytest.mark.parametrize(
    ("mode", "named"), [("cluster", "Redis Cluster"), ("sentinel", "Sentinel"), ("standalone", ""), (None, "")]
)
def test_a_server_says_what_it_is(monkeypatch: pytest.MonkeyPatch, mode: str | None, named: str) -> None:
    def info(_self: object, _section: str) -> dict[str, Any]:
        return {"redis_mode": mode} if mode else {}

    monkeypatch.setattr(Redis, "info", info)
    monkeypatch.setattr(Redis, "exists", lambda *_: 1)
    assert named in refusal_of_server(Redis())
    if named:
        with pytest.raises(QueueUnavailable, match=named):
            JobQueue("redis://127.0.0.1:1").get("job")
        with pytest.raises(ConfigurationError, match=named):
            check_server(Redis())
