"""Metrics of the registry as this server sees it: whether it can be read, and the room on the disks it lies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

from munjang.metrics import Disks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
    registry.register(Disks("server", disks))
