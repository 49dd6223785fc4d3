"""Servers as processes: started, waited for, watched in what they use, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from munjang.cli.stack.plan import free_port
from tests.bench.speed.client import SPEAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

START_SECONDS = 240.0


@dataclass(frozen=True)
class Spec:
    """How a server is started; PORT in its command stands for the port.

    Attributes:
        name: what people call it.
        protocol: how it is spoken to, a name of `SPEAKERS`.
        command: the command line.
        environment: more of its environment.
        cwd: the folder to start it in.
    """

    name: str
    protocol: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class ServerFailed(Exception):
    """A server did not start; the message is the end of its log."""


class Server:
    """A running one."""

    def __init__(self, spec: Spec, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.spec = spec
        self.port = port
        self._process = process
        self._log = log

    def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """Ask it once."""

        async def ask() -> NDArray[np.float32]:
            rows: NDArray[np.float32] = await SPEAKERS[self.spec.protocol](self.port).vectors(texts)
            return rows

        return asyncio.run(ask())

    def wait(self) -> None:
        """Return at its first answer.

        Raises:
            ServerFailed: it ended, or gave none in time.
        """
        deadline = time.monotonic() + START_SECONDS
        error = "no answer"
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.vectors(["안녕하세요."])
            except Exception as found:  # noqa: BLE001 - each protocol has its own way to say "not yet"
                error = str(found)
                time.sleep(0.05)
            else:
                return
        lines = self._log.read_text("utf-8", "replace").splitlines()
        raise ServerFailed("; ".join([line for line in lines if line.strip()][-3:]) or error)

    def processes(self) -> list[psutil.Process]:
        """Its processes."""
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time that it has taken."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def memory(self) -> int:
        """Resident bytes, shared ones counted once."""
        return sum(process.memory_full_info().pss for process in self.processes())

    def interrupt(self) -> None:
        """End what a profiler watches, so that the profiler writes what it has."""
        for process in self.processes()[1:2]:
            process.terminate()
        self._process.wait(60)

    def stop(self) -> int:
        """End it and what it started; its exit status."""
        left = self.processes() if self._process.poll() is None else []
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return self._process.wait(20)


@contextmanager
def running(spec: Spec, work: Path, *, wait: bool = True, port: int = 0) -> Iterator[Server]:
    """A server that is ended afterwards, on a free port where none is given."""
    port = port or free_port()
    log = work / f"{spec.name.replace(' ', '-').replace(',', '')}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [part.replace("PORT", str(port)) for part in spec.command],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", **_ported(spec.environment, port)},
            cwd=spec.cwd,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(spec, port, process, log)
    try:
        if wait:
            server.wait()
        yield server
    finally:
        server.stop()


def ours(registry: str, home: Path, prefix: tuple[str, ...] = ()) -> Spec:
    """Our own server with its defaults; `prefix` is a profiler's command."""
    environment = {
        "MUNJANG_HOME": str(home),
        "MUNJANG_REGISTRY": registry,
        "MUNJANG_PORT": "PORT",
        "MUNJANG_HTTP_PORT": "0",
        "MUNJANG_REDIS_URL": "",
        "MUNJANG_LAME_DUCK_SECONDS": "0",
        "MUNJANG_LOG_LEVEL": "warning",
        "MUNJANG_DEVICE": "cpu",
    }
    return Spec("munjang", "munjang", [*prefix, sys.executable, "-m", "munjang_server"], environment)


def simple(folder: Path, runtime: str) -> Spec:
    """The simple grpc.aio batcher."""
    command = [sys.executable, "-m", "tests.bench.speed.peers.scheduler", str(folder), "PORT", runtime]
    name = {"openvino": "grpc.aio batcher on OpenVINO bfloat16"}.get(runtime, f"grpc.aio batcher on {runtime}")
    return Spec(name, "grpc", command)


def null(dimensions: int, seconds: float = 0.0) -> Spec:
    """The server that does nothing but wait so many seconds, for the cost of gRPC and the client."""
    command = [sys.executable, "-m", "tests.bench.speed.peers.null", "PORT", str(dimensions), str(seconds)]
    return Spec("nothing (client and gRPC alone)", "munjang", command)


def _ported(environment: Mapping[str, str], port: int) -> dict[str, str]:
    return {name: value.replace("PORT", str(port)) if value == "PORT" else value for name, value in environment.items()}
