"""Three servers restarted in turn, under load, through one client: no call fails, with retries turned off."""

from __future__ import annotations

import socket
import threading

import pytest

from munjang.client import Client, RetryPolicy
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model


@pytest.fixture
def registry(tmp_path):
    """A registry with one small version behind stable."""
    registry = Registry(str(tmp_path / "registry"))
    publish_model(registry, tiny_model(tmp_path / "model"), Lineage())
    registry.promote("stable", 1, "test")
    return registry


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Caller(threading.Thread):
    """Calls without a pause, and keeps every error."""

    def __init__(self, client):
        super().__init__()
        self._client = client
        self._done = threading.Event()
        self.answered = 0
        self.errors = []

    def run(self):
        while not self._done.is_set():
            try:
                self._client.encode(["구르는 돌에는 이끼가 끼지 않는다."])
                self.answered += 1
            except Exception as error:  # noqa: BLE001 - the test shows whatever it was
                self.errors.append(error)

    def finish(self):
        self._done.set()
        self.join(30)
        assert not self.is_alive()


def wait_ready(port):
    with Client(f"127.0.0.1:{port}") as client:
        client.wait_ready(240)


@pytest.mark.timeout(400)
def test_no_call_fails_while_three_servers_are_restarted_in_turn(registry, start_server):
    ports = free_ports(3)
    settings = {"lame_duck_seconds": 2, "drain_seconds": 20}
    servers = {port: start_server(registry.url, port=port, **settings) for port in ports}
    for port in ports:
        wait_ready(port)
    targets = [f"127.0.0.1:{port}" for port in ports]
    with Client(targets, retry=RetryPolicy(attempts=1)) as client:
        callers = [Caller(client) for _ in range(4)]
        for caller in callers:
            caller.start()
        for port in ports:
            assert servers[port].stop() == 0
            servers[port] = start_server(registry.url, port=port, **settings)
            wait_ready(port)
        for caller in callers:
            caller.finish()
    assert [error for caller in callers for error in caller.errors] == []
    assert sum(caller.answered for caller in callers) > 100
    assert [server.stop() for server in servers.values()] == [0, 0, 0]
