"""What a stack will be: its addresses, and the environment that tells its programs. Starts nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from munjang.cli.programs import installed
from munjang.cli.stack.ports import LOOPBACK, check_free, dial, free_port
from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from munjang.cli.stack.home import Home
    from munjang.settings import UpSettings


@dataclass(frozen=True)
class Plan:
    """Where everything of one stack is.

    Attributes:
        home: its folder.
        host: that the server listens on.
        port: that the server listens on.
        registry: its registry's URL.
        redis_url: of the job queue.
        redis_port: of our own Valkey, or 0 where the queue is somebody else's.
        metrics: the address of the server's metrics page.
        worker_metrics: that of the worker's.
        worker: whether a worker runs.
        drain_seconds: how long the server's calls may finish.
        extra: more of the environment of its programs.
    """

    home: Home
    host: str
    port: int
    registry: str
    redis_url: str
    redis_port: int
    metrics: tuple[str, int]
    worker_metrics: tuple[str, int]
    worker: bool
    drain_seconds: float
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The server's address for a client on this machine."""
        return dial(self.host, self.port)

    def environment(self) -> dict[str, str]:
        """What the programs of this stack are told."""
        return {
            "MUNJANG_HOME": str(self.home.folder),
            "MUNJANG_REGISTRY": self.registry,
            "MUNJANG_REDIS_URL": self.redis_url,
            "MUNJANG_HOST": self.host,
            "MUNJANG_PORT": str(self.port),
            "MUNJANG_METRICS_HOST": self.metrics[0],
            "MUNJANG_METRICS_PORT": str(self.metrics[1]),
            "MUNJANG_WORKER_METRICS_HOST": self.worker_metrics[0],
            "MUNJANG_WORKER_METRICS_PORT": str(self.worker_metrics[1]),
            "PYTHONSAFEPATH": "1",  # a folder `server` where the user stands is not ours
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }


def make_plan(settings: UpSettings, home: Home, host: str, port: int, *, worker: bool) -> Plan:
    """Choose addresses.

    Args:
        settings: what the options do not say.
        home: the folder.
        host: to listen on.
        port: to listen on; 0 takes a free one.
        worker: whether a worker is wanted; none runs where it is not installed.

    Raises:
        ConfigurationError: the server is not installed, or a port is taken.
    """
    if not installed("munjang_server"):
        msg = "the server is not installed: pip install 'munjang[starter]'"
        raise ConfigurationError(msg)
    if port:
        check_free(host, port)
    own_redis = 0 if settings.redis_url else settings.redis_port or free_port()
    if own_redis and settings.redis_port:
        check_free(LOOPBACK, own_redis)
    return Plan(
        home=home,
        host=host,
        port=port or free_port(host),
        registry=settings.registry or str(home.folder / "registry"),
        redis_url=settings.redis_url or f"redis://{LOOPBACK}:{own_redis}/0",
        redis_port=own_redis,
        metrics=(settings.metrics_host, settings.metrics_port or free_port(settings.metrics_host)),
        worker_metrics=(
            settings.worker_metrics_host,
            settings.worker_metrics_port or free_port(settings.worker_metrics_host),
        ),
        worker=worker and installed("munjang_worker"),
        drain_seconds=settings.drain_seconds,
    )
