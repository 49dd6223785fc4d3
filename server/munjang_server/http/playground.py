"""The playground: a page at / that makes the server's calls from a browser, and the files that it is made of.

The files are static and come from the package's folder `static`. They need no token; the calls that the page makes do.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

PAGE: Final = "index.html"
PREFIX: Final = "/playground"
KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Nothing inline, nothing from elsewhere, in nobody's frame. Browsers ask each time whether a file has changed."""

GRPC_PORT: Final = b"{{grpc_port}}"
"""Where the page wants the port of gRPC, for the calls that it shows."""


def routes(grpc_port: int) -> list[BaseRoute]:
    """The page and its files.

    Args:
        grpc_port: where the server's gRPC is; 0 if that is not known.
    """
    page: list[BaseRoute] = []
    files = []
    for file in resources.files("munjang_server.http").joinpath("static").iterdir():
        kind = KINDS.get(PurePath(file.name).suffix)
        if kind is None:
            continue
        content = file.read_bytes()
        if file.name == PAGE:
            content = content.replace(GRPC_PORT, str(grpc_port or "").encode())
            page.append(Route("/", _File(content, kind).answer, methods=["GET"]))
        else:
            files.append(Route(f"/{file.name}", _File(content, kind).answer, methods=["GET"]))
    return [*page, Mount(PREFIX, routes=files)]


class _File:
    """One file, kept in memory."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._headers = {**HEADERS, "content-type": kind, "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    async def answer(self, request: Request) -> Response:
        """The file, or 304 if the browser has it."""
        if self._headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)
