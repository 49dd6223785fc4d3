"""The port of those who operate: the page and the probes, served where asked for; an error where the port is taken."""

from __future__ import annotations

import asyncio
import socket
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from munjang.errors import ConfigurationError
from munjang_server import metrics_page
from munjang_server.metrics_page import serve_page


def ask(port, path):
    """The status and the text of a page."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as page:
            return page.status, page.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_port_zero_serves_nothing():
    with serve_page(CollectorRegistry(), "127.0.0.1", 0, {}):
        pass


async def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)), serve_page(CollectorRegistry(), "127.0.0.1", port, {}):
            pass


async def test_a_probe_gives_200_or_503_with_the_reason(unused_tcp_port):
    probes = {"/livez": lambda: "", "/readyz": lambda: "no version yet"}
    with serve_page(CollectorRegistry(), "127.0.0.1", unused_tcp_port, probes):
        assert await asyncio.to_thread(ask, unused_tcp_port, "/livez") == (200, "ok")
        assert await asyncio.to_thread(ask, unused_tcp_port, "/readyz") == (503, "no version yet")
        assert (await asyncio.to_thread(ask, unused_tcp_port, "/metrics"))[0] == 200


async def test_an_event_loop_that_is_stuck_is_not_alive(unused_tcp_port, monkeypatch):
    monkeypatch.setattr(metrics_page, "ANSWER_SECONDS", 0.1)
    answers = []
    with serve_page(CollectorRegistry(), "127.0.0.1", unused_tcp_port, {"/livez": lambda: ""}):
        asking = threading.Thread(target=lambda: answers.append(ask(unused_tcp_port, "/livez")))
        asking.start()
        asking.join()  # and meanwhile nothing runs on the event loop, which is this thread
    assert answers == [(503, "the event loop is stuck")]
