"""Prometheus metrics that every program has: its process and release, free disk space, the depth of the job queue.

Each program counts its own work and serves the page itself.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import munjang

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def new_registry(program: str) -> CollectorRegistry:
    """A registry for one process of a program ("server", "worker"), with the metrics of that process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, used by no dashboard
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info(f"munjang_{program}_build", "The release that runs.", registry=registry).info({"release": munjang.__version__})
    return registry


class Disks(Collector):
    """Free and total bytes of each place; a place that cannot be read is left out.

    Args:
        program: whose disks they are, as in `new_registry`.
        disks: folders by the name of their place; they need not exist yet.
    """

    def __init__(self, program: str, disks: Mapping[str, Path]) -> None:
        self._prefix = f"munjang_{program}_disk"
        self._disks = disks

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the free and total bytes of every disk."""
        free = GaugeMetricFamily(f"{self._prefix}_free_bytes", "Free room on the disk of a place.", labels=["place"])
        size = GaugeMetricFamily(f"{self._prefix}_size_bytes", "All room on the disk of a place.", labels=["place"])
        for place, folder in self._disks.items():
            try:
                usage = shutil.disk_usage(_existing(folder))
            except OSError:
                continue
            free.add_metric([place], usage.free)
            size.add_metric([place], usage.total)
        yield free
        yield size


class QueueDepth(Collector):
    """Steps that wait, and steps that run on any worker: alerts and autoscalers need both.

    Server and worker show the same, so waiting jobs are visible even if there is no worker.

    Args:
        depth: the two numbers, read whenever the page is; None where the queue cannot be reached.
    """

    def __init__(self, depth: Callable[[], tuple[int, int] | None]) -> None:
        self._depth = depth

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge, unless the queue cannot be reached."""
        found = self._depth()
        if found is None:
            return
        family = GaugeMetricFamily("munjang_queue_steps", "Steps of jobs in the queue, by state.", labels=["state"])
        for state, steps in zip(("waiting", "running"), found, strict=True):
            family.add_metric([state], steps)
        yield family


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)
