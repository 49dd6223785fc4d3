"""When the lease of a step ends, by Redis's clock, which all workers share.

RQ writes leases by each worker's own clock. The step of a dead worker whose clock was an hour ahead would then wait for
an hour, and one whose clock is behind would have its steps taken from it while it works on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rq.executions import Execution
    from rq.registry import StartedJobRegistry


def redis_time(connection: Any) -> float:
    """Redis's time of day in seconds since the epoch."""
    seconds, microseconds = connection.time()
    return float(seconds) + float(microseconds) / 1e6


def lease_until(connection: Any, registry: StartedJobRegistry, execution: Execution, end: float) -> None:
    """Let the lease of a step that runs end at `end`; one that was given to another stays as it is."""
    connection.zadd(registry.key, {execution.composite_key: end}, xx=True)
