"""The depth of the job queue as this server sees it, so that waiting jobs show also where no worker is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from munjang.client.jobs import JobQueue
from munjang.errors import QueueUnavailable
from munjang.metrics import QueueDepth

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SECONDS = 2.0
"""How long one look at the queue waits for Redis, well within the time of a scrape."""


def show_queue(registry: CollectorRegistry, redis_url: str) -> None:
    """Show how many steps wait and run, read whenever the page is; nothing where there is no queue or no answer."""

    @cache
    def queue() -> JobQueue:
        return JobQueue(redis_url, seconds=SECONDS, retries=0)

    def depth() -> tuple[int, int] | None:
        try:
            return queue().depth()
        except QueueUnavailable:
            return None

    if redis_url:
        registry.register(QueueDepth(depth))
