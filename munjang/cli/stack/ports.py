"""Ports of this machine: free ones to take, and whether one is taken."""

from __future__ import annotations

import errno
import socket
from contextlib import closing

from munjang.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody listens on now."""
    with closing(_bound(host, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def check_free(host: str, port: int) -> None:
    """Refuse a port that another program listens on.

    Raises:
        ConfigurationError: it is taken, or may not be taken, or the host is none of this machine's.
    """
    try:
        _bound(host, port).close()
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror or error}"
        msg = f"port {port} on {host} {reason}; choose another with --port"
        raise ConfigurationError(msg, field="port") from error


def dial(host: str, port: int) -> str:
    """HOST:PORT by which this machine reaches a program that listens on `host`."""
    name = _EVERYWHERE.get(host, host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
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
