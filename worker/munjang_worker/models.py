"""The one model that a worker process holds: loaded when a step first needs its version, kept for all that follow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from munjang.errors import JobConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.encoder.contract import Encoder
    from munjang_worker.metrics import Metrics

log = structlog.get_logger("munjang.worker")


class Models:
    """Holds the encoder of one version at a time. Used by one thread."""

    def __init__(self, load: Callable[[int], Encoder], digest: Callable[[int], str], metrics: Metrics) -> None:
        """Hold nothing yet.

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
        """A version's encoder. Another version's is given up first, so that memory holds one.

        Args:
            version: its number.
            model: the digest that its files had where the job began.

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
        """Give the model up; the next `get` loads anew."""
        if self._encoder is not None:
            self._encoder.close()
        self._encoder = None
        self._version, self._model = 0, ""
        self._metrics.model_version.set(0)
