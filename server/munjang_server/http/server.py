"""The HTTP door: listens, serves in the server's own event loop, and stops. uvicorn speaks HTTP/1.1."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
import uvicorn
from starlette.routing import Route

from munjang.errors import ConfigurationError
from munjang_server.http.connection import KEEP_ALIVE_SECONDS, Connection, Connections
from munjang_server.http.routes import application
from munjang_server.security.tls import ssl_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from munjang.settings import ServerSettings
    from munjang_server.rpc.services import Services

BACKLOG = 2048

log = structlog.get_logger("munjang.server.http")


class HttpServer:
    """One HTTP server with all dialects. Create it on the event loop that should serve it.

    Args:
        settings: how it listens and what it accepts.
        services: what it serves.

    Attributes:
        paths: that are served.

    Raises:
        ConfigurationError: a setting is not valid.
    """

    def __init__(self, settings: ServerSettings, services: Services) -> None:
        self._settings = settings
        self._application = application(settings, services)
        self.paths = frozenset(route.path for route in self._application.routes if isinstance(route, Route))
        self._socket: socket.socket | None = None
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self) -> int:
        """Bind the port; returns its number.

        Raises:
            ConfigurationError: it cannot be used, or the TLS settings are not valid.
        """
        settings = self._settings
        self._server = _Uvicorn(self._config(ssl_context(settings)))
        self._socket = _listener(settings.host, settings.http_port)
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Begin to serve."""
        if self._server is None or self._socket is None:
            msg = "listen() comes before start()"
            raise RuntimeError(msg)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        started = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({self._serving, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()

    async def stop(self, seconds: float) -> None:
        """Take no new connections, and cut off the calls that are in flight after `seconds`. May be called again."""
        if self._server is None or self._serving is None:
            if self._socket is not None:
                self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = seconds  # type: ignore[assignment]  # it is a timeout of asyncio
        self._server.should_exit = True
        await self._serving
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def _config(self, context: ssl.SSLContext | None) -> uvicorn.Config:
        settings = self._settings
        connections = Connections(settings.http_connections, settings.http_read_seconds)
        return uvicorn.Config(
            self._application,
            http=partial(Connection, connections),  # type: ignore[arg-type]  # it is only called
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,  # logging is the program's
            log_level="critical",  # bad requests and clients that left are no events of this server
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_context_factory=None if context is None else lambda *_: context,
        )


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers of its own; the program has them.

    Attributes:
        up: set once it serves.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
        except OSError:
            listener.close()
            raise
    except OSError as error:
        msg = (
            f"cannot serve HTTP on {host}:{port}: {error.strerror or error}; set MUNJANG_HTTP_PORT to another port, "
            "or to 0 to serve gRPC only"
        )
        raise ConfigurationError(msg, field="http_port") from error
    return listener
