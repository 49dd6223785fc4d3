"""What a worker process holds for its steps, which RQ calls by name with nothing but the arguments from the queue."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError
from munjang_worker.interrupts import Interrupts

if TYPE_CHECKING:
    from munjang.bulk.job import ShardProgress
    from munjang.registry import Registry
    from munjang.settings import WorkerSettings
    from munjang_worker.board import Board
    from munjang_worker.metrics import Metrics
    from munjang_worker.models import Models
    from munjang_worker.steps import Steps


@dataclass(slots=True)
class Activity:
    """The step in hand, for the heart-beat to tell of; `shard` is -1 for steps that are none."""

    job_id: str = ""
    shard: int = -1
    progress: ShardProgress | None = None


@dataclass(slots=True)
class Runtime:
    """One worker process: its settings, and what steps work with.

    Attributes:
        name: the worker's name.
        connection: the patient connection to Redis.
        steps: how further steps get into the queue.
        broken: the model failed in a way that may only end with the process.
        blocked: Redis's number of the connection that waits for a job.
        parent: the process that this one must not outlive; 0 if it stands alone.
    """

    name: str
    settings: WorkerSettings
    connection: Any
    registry: Registry
    models: Models
    board: Board
    steps: Steps
    metrics: Metrics
    interrupts: Interrupts = field(default_factory=Interrupts)
    activity: Activity = field(default_factory=Activity)
    broken: bool = False
    blocked: int = 0
    parent: int = 0

    @property
    def orphaned(self) -> bool:
        """Whether the parent that started this process as one of several was killed."""
        return self.parent != 0 and os.getppid() != self.parent


_runtime: list[Runtime] = []


def install(runtime: Runtime) -> None:
    """Make a runtime this process's own; the steps find it here."""
    _runtime[:] = [runtime]


def current() -> Runtime:
    """This process's runtime.

    Raises:
        ConfigurationError: the process is not a munjang worker.
    """
    if not _runtime:
        msg = "bulk jobs run in munjang's own workers only: start one with `munjang work`"
        raise ConfigurationError(msg)
    return _runtime[0]
