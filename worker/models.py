"""The one model that a worker process holds: loaded when a step first needs its version, kept for all that follow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.encoder.contract import Encoder
    from worker.metrics import Metrics

log = structlog.get_logger("munjang.worker")


class Models:
    """Holds the encoder of one version at a time. Used by one thread."""

    def __init__(self, load: Callable[[int], Encoder], metrics: Metrics) -> None:
        """Hold nothing yet; `load` makes a version's encoder, verified and ready."""
        self._load = load
        self._metrics = metrics
        self._version = 0
        self._encoder: Encoder | None = None

    def get(self, version: int) -> Encoder:
        """A version's encoder. Another version's is given up first, so that memory holds one.

        Raises:
            RegistryError, ModelError, ConfigurationError: as the loading does.
        """
        if self._encoder is not None and self._version == version:
            return self._encoder
        self.drop()
        begun = time.monotonic()
        self._encoder = self._load(version)
        self._version = version
        self._metrics.model_loads.inc()
        self._metrics.model_version.set(version)
        log.info("model loaded", version=version, seconds=round(time.monotonic() - begun, 2))
        return self._encoder

    def drop(self) -> None:
        """Give the model up; the next `get` loads anew."""
        if self._encoder is not None:
            self._encoder.close()
        self._encoder = None
        self._version = 0
        self._metrics.model_version.set(0)
