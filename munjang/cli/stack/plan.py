"""The plan of a stack: its folder, its ports and addresses, and the environment of its programs. Starts nothing."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from munjang.cli import extras, running
from munjang.cli.programs import installed
from munjang.cli.running import Running
from munjang.errors import ConfigurationError
from munjang.output_file import claim_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from munjang.settings import UpSettings

LOOPBACK = "127.0.0.1"
LOCK = "up.lock"
"""Stands in the home of an `up`, which renames logs and deletes notes there."""

OTHERS = {"cache", "registry", "runs", running.NOTE}
"""What other programs of ours, and an `up` in another home, put into a home before the first `up`."""

_EVERYWHERE = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}


@dataclass(frozen=True)
class Home:
    """One folder; it is `kept` when everything has ended, or deleted."""

    folder: Path
    kept: bool = True

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.folder / "logs"

    @property
    def redis(self) -> Path:
        """The folder of Valkey's data."""
        return self.folder / "redis"

    @property
    def scratch(self) -> Path:
        """The temporary folder of the programs that publish; deleted at the end, and before the next start."""
        return self.folder / "tmp"

    def log(self, name: str) -> Path:
        """A fresh log; the last run's is kept as NAME.log.1."""
        path = self.logs / f"{name}.log"
        if path.exists():
            path.replace(path.with_name(f"{name}.log.1"))
        path.touch()
        return path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folders and hold the lock.

        Raises:
            FolderTaken: the folder holds what munjang did not make.
            ConfigurationError: another `up` runs in this folder, or it cannot be written.
        """
        try:
            claim_folder(self.folder, LOCK, option="--home", is_ours=lambda path: path.name in OTHERS)
            for folder in (self.folder, self.logs, self.redis):
                folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK)
            lock.acquire(timeout=0)
            self._clear()
        except Timeout as error:
            msg = (
                f"another `munjang up` runs in {self.folder}{self._other()}; end it, or choose another folder by --home"
            )
            raise ConfigurationError(msg, field="home") from error
        except OSError as error:
            msg = f"the folder {self.folder} cannot be used: {error.strerror or error}"
            raise ConfigurationError(msg, field="home") from error
        try:
            yield
        finally:
            self._clear()
            lock.release()

    def _clear(self) -> None:
        """Delete what a program that was killed left in its temporary folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _other(self) -> str:
        other = running.read(self.folder)
        return f" (process {other.pid}, at {other.target})" if other else ""


@dataclass(frozen=True)
class Plan:
    """Where everything of one stack is.

    Attributes:
        home: its folder.
        host: that the server listens on.
        port: that the server listens on for gRPC.
        http_port: the same for HTTP; 0 if it serves none.
        registry: its registry's URL.
        redis_url: of the job queue.
        redis_port: of our own Valkey, or 0 if the queue is not ours.
        metrics: the address of the server's metrics page.
        worker_metrics: that of the worker's.
        worker: whether a worker runs.
        drain_seconds: how long the server's calls may finish.
        scheme: of its HTTP address.
        extra: more of the environment of its programs.
    """

    home: Home
    host: str
    port: int
    http_port: int
    registry: str
    redis_url: str
    redis_port: int
    metrics: tuple[str, int]
    worker_metrics: tuple[str, int]
    worker: bool
    drain_seconds: float
    scheme: str = "http"
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The server's address for a client on this machine."""
        return dial(self.host, self.port)

    @property
    def web(self) -> str:
        """The HTTP address for a client on this machine, or nothing."""
        return f"{self.scheme}://{dial(self.host, self.http_port)}" if self.http_port else ""

    @property
    def running(self) -> Running:
        """What commands in other terminals have to know; this process runs the stack."""
        return Running(os.getpid(), str(self.home.folder), self.target, self.registry)

    def environment(self) -> dict[str, str]:
        """The environment variables of the programs of this stack."""
        return {
            "MUNJANG_HOME": str(self.home.folder),
            "MUNJANG_REGISTRY": self.registry,
            "MUNJANG_REDIS_URL": self.redis_url,
            "MUNJANG_HOST": self.host,
            "MUNJANG_PORT": str(self.port),
            "MUNJANG_HTTP_PORT": str(self.http_port),
            "MUNJANG_METRICS_HOST": self.metrics[0],
            "MUNJANG_METRICS_PORT": str(self.metrics[1]),
            "MUNJANG_WORKER_METRICS_HOST": self.worker_metrics[0],
            "MUNJANG_WORKER_METRICS_PORT": str(self.worker_metrics[1]),
            "PYTHONSAFEPATH": "1",  # a folder `server` where the user stands is not ours
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }


def make_plan(settings: UpSettings, home: Home, host: str, port: int, *, http_port: int = 0, worker: bool) -> Plan:
    """Choose addresses.

    Args:
        settings: for what the options do not give.
        home: the folder.
        host: to listen on.
        port: to listen on; 0 takes a free one.
        http_port: the same for HTTP; 0 serves none.
        worker: whether a worker is wanted; none runs if it is not installed.

    Raises:
        ConfigurationError: the server is not installed, or a port is taken.
    """
    if not installed("munjang_server"):
        lacking = extras.missing("server") or "the server"
        msg = f"{lacking} is not installed: {extras.hint('starter')}"
        raise ConfigurationError(msg)
    if port:
        check_free(host, port)
    if http_port:
        check_free(host, http_port, "--http-port (0 serves gRPC only)")
    own_redis = 0 if settings.redis_url else settings.redis_port or free_port()
    if own_redis and settings.redis_port:
        check_free(LOOPBACK, own_redis)
    return Plan(
        home=home,
        host=host,
        port=port or free_port(host),
        http_port=http_port,
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
        scheme="https" if settings.tls_cert else "http",
    )


def free_port(host: str = LOOPBACK) -> int:
    """A port that no program listens on now."""
    with closing(_bound(host, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def check_free(host: str, port: int, option: str = "--port") -> None:
    """Refuse a port that another program listens on; `option` chooses another.

    Raises:
        ConfigurationError: it is taken or not allowed, or the host is not one of this machine.
    """
    try:
        _bound(host, port).close()
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror or error}"
        msg = f"port {port} on {host} {reason}; choose another with {option}"
        raise ConfigurationError(msg, field="port") from error


def dial(host: str, port: int) -> str:
    """HOST:PORT at which this machine reaches a program that listens on `host`."""
    name = _EVERYWHERE.get(host, host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether a program listens there."""
    try:
        socket.create_connection((_EVERYWHERE.get(host, host), port), timeout=1).close()
    except OSError:
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
