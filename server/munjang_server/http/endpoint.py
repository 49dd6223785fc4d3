"""One route over HTTP: identity, body, deadline and accounting around a handler, and its error in the dialect's form.

The same for every dialect. A handler gets a request and a `Call`, makes one of the calls that gRPC makes, and returns
a response or raises an error.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from munjang.errors import InvalidOption, MunjangError, PermissionDenied
from munjang.network import is_loopback
from munjang_server.http import body
from munjang_server.http.errors import error_headers
from munjang_server.rpc.calls import Call, Door, within
from munjang_server.rpc.errors import REQUEST_ID_KEY
from munjang_server.security.authentication import Permission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from munjang.settings import ServerSettings
    from munjang_server.http.connection import Connection
    from munjang_server.rpc.calls import Calls, Rpc

    Handler = Callable[["Incoming", Call], Awaitable[Response]]
    ErrorWriter = Callable[[MunjangError], tuple[int, bytes]]

VERSION_HEADER = "x-munjang-version"
SPACE_HEADER = "x-munjang-space"
TIMEOUTS = {"x-request-timeout": 1.0, "connect-timeout-ms": 0.001}
"""Headers by which a caller sets a deadline, and seconds of their unit. The second is that of the Connect protocol."""

LONGEST_SECONDS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a handler sees of a request.

    Attributes:
        headers: as sent.
        path: the parts of the path that the route names.
        body: as sent, or empty for GET.
    """

    headers: Headers
    path: Mapping[str, str]
    body: bytes


class Endpoint:
    """One route, as an ASGI application.

    Args:
        calls: begins and ends calls.
        settings: limits.
        rpc: the call that the handler makes; decides who may.
        handler: makes it.
        write_error: gives the status of an error, and writes it as the dialect does.
        kinds: the content types of bodies that it reads; empty for GET.
    """

    def __init__(
        self,
        calls: Calls,
        settings: ServerSettings,
        rpc: Rpc,
        handler: Handler,
        *,
        write_error: ErrorWriter,
        kinds: tuple[str, ...] = (body.JSON,),
    ) -> None:
        self._calls = calls
        self._settings = settings
        self._rpc = rpc
        self._handler = handler
        self._write_error = write_error
        self._kinds = kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        connection: Connection = scope["state"]["connection"]
        call = self._begin(headers)
        connection.on_hang_up = asyncio.current_task().cancel  # type: ignore[union-attr]  # a task runs this
        try:
            response = await self._answer(scope, headers, receive, call, connection.peer)
        except asyncio.CancelledError:  # the client has gone, or the server ends and cuts its calls off
            self._calls.cancel(call)
            connection.abort()
            return
        except Exception as error:  # noqa: BLE001 - the caller sees what `fail` lets it see
            shown = self._calls.fail(call, error)
            response = error_response(shown, self._write_error)
        else:
            self._calls.end(call)
        finally:
            connection.on_hang_up = None
        response.headers[REQUEST_ID_KEY] = call.request_id
        if call.version:
            response.headers[VERSION_HEADER] = str(call.version)
        if call.space_id:
            response.headers[SPACE_HEADER] = call.space_id
        await response(scope, receive, send)

    def _begin(self, headers: Headers) -> Call:
        call = Call(
            self._rpc,
            Door.HTTP,
            headers.get(REQUEST_ID_KEY, ""),
            time.monotonic() + self._settings.default_deadline_seconds,
            time.perf_counter(),
            headers.get("authorization", ""),
            headers.get("traceparent", ""),
        )
        self._calls.begin(call)
        return call

    async def _answer(
        self, scope: Scope, headers: Headers, receive: Receive, call: Call, peer: Callable[[], str]
    ) -> Response:
        settings = self._settings
        if self._rpc.permission is Permission.ADMIN and not settings.tokens_file:
            _check_own_machine(headers)
        self._calls.authenticate(call, peer)
        raw = b""
        if self._kinds:
            most, seconds = settings.max_message_bytes, settings.http_read_seconds
            raw = await body.read(headers, receive, self._kinds, most, seconds)
        incoming = Incoming(headers, scope.get("path_params", {}), raw)
        given = _deadline(headers)
        if given is None:
            return await within(settings.default_deadline_seconds, self._handler(incoming, call))
        call.deadline = time.monotonic() + given
        return await within(given, self._handler(incoming, call), "its caller gave it")


def error_response(error: MunjangError, write_error: ErrorWriter) -> Response:
    """An error as a response."""
    status, content = write_error(error)
    return Response(content, status, error_headers(error), body.JSON)


def _deadline(headers: Headers) -> float | None:
    """The seconds that the caller gives the call, or None.

    Raises:
        InvalidOption: they are no number above zero.
    """
    for name, unit in TIMEOUTS.items():
        text = headers.get(name)
        if text is not None:
            try:
                seconds = float(text) * unit
            except ValueError:
                seconds = math.nan
            if not 0 < seconds <= LONGEST_SECONDS:
                msg = f"{name} is a number above zero, of at most 30 days; {text[:32]!r} is not"
                raise InvalidOption(msg, field=name)
            return seconds
    return None


def _check_own_machine(headers: Headers) -> None:
    """Refuse what a web page of another site may have a browser on this machine send, where no token tells.

    Raises:
        PermissionDenied: the address that was called, or the page that calls, is not of this machine.
    """
    for name in ("host", "origin"):
        value = headers.get(name)
        if value is not None and not is_loopback(_host_of(value)):
            msg = (
                f"this server has no tokens, so it takes this call only from its own machine; {name} is {value[:64]!r}"
            )
            raise PermissionDenied(msg)


def _host_of(address: str) -> str:
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def json_response(content: bytes) -> Response:
    """A response of JSON that was written already."""
    return Response(content, media_type=body.JSON)
