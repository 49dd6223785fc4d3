"""The page that Prometheus reads, on a port of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from prometheus_client import start_http_server

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

log = structlog.get_logger("munjang.server.metrics")


@contextmanager
def serve_page(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Show the metrics at http://host:port/metrics while the block runs; port 0 shows nothing.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    if not port:
        yield
        return
    try:
        page, thread = start_http_server(port, host, registry)
    except OSError as error:
        msg = f"cannot show metrics on {host}:{port}: {error.strerror or error}"
        raise ConfigurationError(msg, field="metrics_port") from error
    log.info("metrics", host=host, port=port)
    try:
        yield
    finally:
        page.shutdown()
        page.server_close()
        thread.join()
