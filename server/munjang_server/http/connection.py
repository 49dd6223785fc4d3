"""One HTTP connection: how long its head may take and how large it may be, who is at its other end, and its hang-up.

uvicorn parses and answers. It bounds neither the number of connections nor the time or size of a request's head.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024
"""The longest head of a request that comes in parts; one read of the socket may hold more."""

UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
"""A client's offer of another protocol; Java's client offers HTTP/2 with every first request. It may be ignored, but
the parser would take the body for that protocol, so it does not get to see the offer."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection stays open without a request, and how long an answer may wait for its reader."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connections:
    """All connections of one server.

    Args:
        most: how many there may be; past it the one that has been idle for longest is closed.
        head_seconds: how long a connection may take to send the head of a request.
    """

    def __init__(self, most: int, head_seconds: float) -> None:
        self.head_seconds = head_seconds
        self._most = most
        self._open = 0
        self._idle: dict[Connection, None] = {}

    def opened(self, connection: Connection) -> None:
        """A connection was made; it is idle."""
        self._open += 1
        self._idle[connection] = None
        if self._open > self._most:
            next(iter(self._idle)).abort()

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open -= 1
        self._idle.pop(connection, None)

    def busy(self, connection: Connection) -> None:
        """A request began on it."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Its request was answered."""
        self._idle[connection] = None

    def is_idle(self, connection: Connection) -> bool:
        """Whether it has no request."""
        return connection in self._idle


class Connection(HttpToolsProtocol):
    """One connection. Handlers find it in the scope's state, as `connection`.

    Attributes:
        on_hang_up: called when the client goes before it was answered; a handler sets it.
    """

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._head = b""
        self._head_bytes = 0
        self._in_head = False
        self._timer: asyncio.TimerHandle | None = None
        self._peer = ""
        self.on_hang_up: Callable[[], object] | None = None
        self.app_state = {**self.app_state, "connection": self}

    def peer(self) -> str:
        """The name in the client's certificate if there is one, else its address, as gRPC writes it."""
        if not self._peer:
            self._peer = _certificate_name(self.transport.get_extra_info("ssl_object")) or _address(self.client)
        return self._peer

    def abort(self) -> None:
        """Close at once, whatever was not sent yet."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait()
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the handler that nobody waits for its answer."""
        super().connection_lost(exc)
        self._stop_waiting()
        self._all.closed(self)
        if self.on_hang_up is not None:
            self.on_hang_up()

    def data_received(self, data: bytes) -> None:
        """Parse, once the whole head of a request is there; bound the time and the size of heads."""
        if self._all.is_idle(self) and not self._in_head:
            self._unset_keepalive_if_required()
            data = self._head + data
            end = data.find(HEAD_END)
            if end < 0:
                self._head = data
                self._wait_for_head(len(data))
                return
            self._head = b""
            data = UPGRADE.sub(b"\r\nx-upgrade:", data[:end]) + data[end:]
        super().data_received(data)
        if self._in_head and self._all.is_idle(self):  # it came behind another request
            self._head_bytes += len(data)
            self._wait_for_head(self._head_bytes)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_waiting()
        self._all.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Be idle again, or go on with the next request that came meanwhile."""
        pipelined = bool(self.pipeline)
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.abort)  # if the client does not read the rest
        elif self.cycle.more_body:  # answered before all of it came: read and drop the rest, so the answer arrives
            self._timer = self.loop.call_later(self._all.head_seconds, self.transport.abort)
        elif not pipelined:
            self._all.idle(self)

    def on_message_complete(self) -> None:
        """All of a body has come."""
        answered = self.cycle.response_complete
        super().on_message_complete()
        if answered:
            self._stop_waiting()
            self._all.idle(self)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, whether or not the client has read everything."""
        self.transport.abort()

    def _wait_for_head(self, size: int) -> None:
        if self.transport.is_closing():
            return
        if size > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._timer is None:
            self._wait()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self._all.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._head or self._in_head:
            self.transport.write(_TOO_SLOW)
        self.transport.close()


def _certificate_name(ssl_object: Any) -> str:
    """The first alternative name of a client's certificate, else its common name, else ""."""
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    if not certificate:
        return ""
    for _, name in certificate.get("subjectAltName", ()):
        return str(name)
    return next((value for part in certificate["subject"] for key, value in part if key == "commonName"), "")


def _address(client: tuple[str, int] | None) -> str:
    """An address as gRPC writes it, so that a caller is the same one by either door."""
    host = client[0].removeprefix("::ffff:") if client else ""
    return f"ipv6:%5B{host}%5D" if ":" in host else f"ipv4:{host}"
