"""The metrics page: served where it is asked for, and an error where the port is taken."""

from __future__ import annotations

import socket

import pytest
from prometheus_client import CollectorRegistry

from munjang.errors import ConfigurationError
from munjang_server.metrics import serve_metrics


def test_port_zero_serves_nothing():
    with serve_metrics(CollectorRegistry(), "127.0.0.1", 0):
        pass


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)), serve_metrics(CollectorRegistry(), "127.0.0.1", port):
            pass
