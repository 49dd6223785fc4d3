"""Connections to Redis: a retrying one for the work, which survives Redis restarts, and a brief one for heartbeats.

RQ leaves its loop on most connection errors, and a job whose end cannot be reported stays "started". With the retrying
connection no call fails while Redis is unavailable: it waits until Redis is back or the worker is asked to end. Some
things may then happen twice (a step queued again, a shard reported again). That is harmless, because steps look at the
output folder first.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import structlog
from redis import Redis
from redis.backoff import AbstractBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry

from munjang.bulk.redis_kind import refusal_of_server, refusal_of_url
from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("munjang.worker")

LONGEST_WAIT = 2.0
"""Seconds between two tries."""

LAST_TRIES = 5.0
"""For how many seconds a worker that is asked to end still tries to reach Redis."""

BRIEF_SECONDS = 5.0
"""How long a heartbeat waits for an answer."""


def connect_with_retries(url: str, stopping: Callable[[], bool]) -> Any:
    """A client whose calls wait for Redis to come back, until `stopping()`.

    Raises:
        ConfigurationError: the URL is not valid.
    """
    return _client(url, retry=Retry(_RetryUntilStopped(stopping), retries=-1), retry_on_error=[ReadOnlyError])


def connect_without_retries(url: str) -> Any:
    """A client whose calls fail soon."""
    return _client(url, retry=Retry(NoBackoff(), 0), socket_timeout=BRIEF_SECONDS, socket_connect_timeout=BRIEF_SECONDS)


class _RetryUntilStopped(AbstractBackoff):  # type: ignore[misc] # redis is not followed by mypy
    """Backs off exponentially, logs the waiting, and gives up once the worker is asked to end."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._asked_at = 0.0

    def __deepcopy__(self, memo: object) -> Self:  # every connection gets a copy of its pool's retry
        return self

    def compute(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row. Raises ConnectionError to give up."""
        if self._stopping():
            now = time.monotonic()
            self._asked_at = self._asked_at or now
            if now - self._asked_at > LAST_TRIES:
                msg = "Redis is away, and the worker is asked to end"
                raise RedisConnectionError(msg)
        if failures % 10 == 1:
            log.warning("waiting for Redis", failures=failures)
        return float(min(LONGEST_WAIT, 0.05 * 2 ** min(failures, 10)))


def redis_time(connection: Any) -> float:
    """Redis's time of day in seconds since the epoch: the one clock that all workers share."""
    seconds, microseconds = connection.time()
    return float(seconds) + float(microseconds) / 1e6


def check_server(connection: Any) -> None:
    """Refuse a Redis that cannot be the job queue; waits for it.

    Raises:
        ConfigurationError: it is a Cluster or a Sentinel.
    """
    with suppress(ResponseError):  # INFO may be forbidden
        if refusal := refusal_of_server(connection):
            raise ConfigurationError(refusal, field="redis_url")


def _client(url: str, **options: Any) -> Any:
    if not url:
        msg = "no job queue: set MUNJANG_REDIS_URL (redis://, rediss:// or unix://)"
        raise ConfigurationError(msg, field="redis_url")
    if refusal := refusal_of_url(url):
        raise ConfigurationError(refusal, field="redis_url")
    try:
        return Redis.from_url(url, socket_keepalive=True, health_check_interval=30, **options)
    except ValueError as error:
        msg = f"MUNJANG_REDIS_URL is not valid: {error}"
        raise ConfigurationError(msg, field="redis_url") from error
