"""What a worker process keeps for its steps, such as the loaded model: RQ calls steps by name, with arguments only."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from munjang.errors import ConfigurationError, JobConflict
from munjang_worker.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.bulk.job import ShardProgress
    from munjang.encoder.contract import Encoder
    from munjang.registry import Registry
    from munjang.settings import WorkerSettings
    from munjang_worker.job_store import JobStore
    from munjang_worker.metrics import Metrics
    from munjang_worker.step_queue import StepQueue

log = structlog.get_logger("munjang.worker")


@dataclass(slots=True)
class Activity:
    """The current step, for the heartbeat to report; `shard` is -1 for steps that are none."""

    job_id: str = ""
    shard: int = -1
    progress: ShardProgress | None = None


class ModelCache:
    """The encoder of one version at a time: loaded when a step first needs it, kept for the steps that follow.

    Used by one thread.
    """

    def __init__(self, load: Callable[[int], Encoder], digest: Callable[[int], str], metrics: Metrics) -> None:
        """Start without a model.

        Args:
            load: makes a version's encoder, verified and ready.
            digest: gives the digest of a version's files.
            metrics: where loads are counted.
        """
        self._load = load
        self._digest = digest
        self._metrics = metrics
        self._version = 0
        self._model = ""
        self._encoder: Encoder | None = None

    def get(self, version: int, model: str) -> Encoder:
        """A version's encoder. Another version's is unloaded first, so that memory holds one.

        Args:
            version: its number.
            model: the digest that its files had when the job was planned.

        Raises:
            JobConflict: this worker's registry has another model under that number.
            RegistryError, ModelError, ConfigurationError: as the loading does.
        """
        if self._encoder is not None and (self._version, self._model) == (version, model):
            return self._encoder
        self.drop()
        if self._digest(version) != model:
            msg = (
                f"a worker's registry has another version {version} than the job began with: give all workers the same"
            )
            raise JobConflict(msg, field="version")
        begun = time.monotonic()
        self._encoder = self._load(version)
        self._version, self._model = version, model
        self._metrics.model_loads.inc()
        self._metrics.model_version.set(version)
        log.info("model loaded", version=version, seconds=round(time.monotonic() - begun, 2))
        return self._encoder

    def drop(self) -> None:
        """Unload the model; the next `get` loads it again."""
        if self._encoder is not None:
            self._encoder.close()
        self._encoder = None
        self._version, self._model = 0, ""
        self._metrics.model_version.set(0)


@dataclass(slots=True)
class Runtime:
    """One worker process: its settings, and what steps work with.

    Attributes:
        name: the worker's name.
        connection: the retrying connection to Redis.
        jobs: the job records in Redis.
        steps: puts further steps into the queue.
        broken: the model failed in a way that may only end with the process.
        blocked: Redis's number of the connection that waits for a job.
        parent: the process that this one must not outlive; 0 if there is none.
    """

    name: str
    settings: WorkerSettings
    connection: Any
    registry: Registry
    models: ModelCache
    jobs: JobStore
    steps: StepQueue
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
    """Set this process's runtime, where the steps find it."""
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
