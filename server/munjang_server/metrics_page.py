"""The port of those who operate: /metrics, /livez and /readyz in plain HTTP, answered by threads.

The probes ask the event loop, so one that is stuck is neither alive nor ready.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import make_wsgi_app

from munjang import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

log = structlog.get_logger()

ANSWER_SECONDS: Final = 2.0
"""How long the event loop may take to answer a probe."""


@contextmanager
def serve_page(
    registry: CollectorRegistry, host: str, port: int, probes: Mapping[str, Callable[[], str]]
) -> Iterator[None]:
    """Serve the page while the block runs, which an event loop does; port 0 serves nothing.

    Args:
        registry: the metrics at /metrics.
        host: to listen on.
        port: the same.
        probes: what is asked, by its path: "" is good and gives 200, a reason gives 503.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    if not port:
        yield
        return
    loop = asyncio.get_running_loop()
    metrics: WSGIApplication = make_wsgi_app(registry)

    def page(request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        probe = probes.get(request["PATH_INFO"])
        if probe is None:
            return metrics(request, start)
        reason = _asked(loop, probe)
        start("503 Service Unavailable" if reason else "200 OK", [("content-type", "text/plain; charset=utf-8")])
        return [(reason or "ok").encode()]

    try:
        server = make_server(host, port, page, _server_class(host, port), _Silent)
    except OSError as error:
        msg = f"cannot show metrics on {host}:{port}: {error.strerror or error}"
        raise errors.ConfigurationError(msg, field="metrics_port") from error
    thread = threading.Thread(target=server.serve_forever, name="munjang-metrics", daemon=True)
    thread.start()
    log.info("serving metrics", host=host, port=port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _asked(loop: asyncio.AbstractEventLoop, probe: Callable[[], str]) -> str:
    """The answer of a probe that runs on the event loop."""

    async def answer() -> str:
        return probe()

    asking = answer()
    try:
        return asyncio.run_coroutine_threadsafe(asking, loop).result(ANSWER_SECONDS)
    except TimeoutError:
        return "the event loop is stuck"
    except RuntimeError:  # it is closed
        asking.close()
        return "ended"


def _server_class(host: str, port: int) -> type[WSGIServer]:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return type("_Page", (_Threaded,), {"address_family": family})


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """Logs no request: probes and scrapes come all the time."""

    timeout = 10

    def log_message(self, *_: object) -> None:
        """Nothing."""
