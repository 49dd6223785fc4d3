"""Metrics of the registry as this server sees it: whether it can be read, and the room on the disks it lies on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import CollectorRegistry


def show_registry(registry: CollectorRegistry, error: Callable[[], object], disks: Mapping[str, Path]) -> None:
    """Show how the registry stands, read whenever the page is.

    Args:
        registry: where the metrics are registered.
        error: says why the last look at the model registry failed; None where it did not.
        disks: folders that versions are kept in, by the name of their place; they need not exist yet.
    """
    readable = Gauge("munjang_server_registry_readable", "1 where the last look succeeded.", registry=registry)
    readable.set_function(lambda: error() is None)
    registry.register(_Disks(disks))


class _Disks(Collector):
    """Free and total bytes of each place; a place that cannot be looked at is left out."""

    def __init__(self, disks: Mapping[str, Path]) -> None:
        self._disks = disks

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look at every disk."""
        free = GaugeMetricFamily("munjang_server_disk_free_bytes", "Free room where versions are.", labels=["place"])
        size = GaugeMetricFamily("munjang_server_disk_size_bytes", "All room where versions are.", labels=["place"])
        for place, folder in self._disks.items():
            try:
                usage = shutil.disk_usage(_existing(folder))
            except OSError:
                continue
            free.add_metric([place], usage.free)
            size.add_metric([place], usage.total)
        yield free
        yield size


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)
