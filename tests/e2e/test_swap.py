"""A version promoted and rolled back under constant calls; a broken one that never serves."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from munjang.client import Client, RetryPolicy
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model

TEXTS = ["남자가 드럼을 쳤다.", "여자가 노래한다."]


@pytest.fixture
def registry(tmp_path):
    """Two versions of different vectors; stable names the first."""
    registry = Registry(str(tmp_path / "registry"))
    for seed in (1, 2):
        publish_model(registry, tiny_model(tmp_path / f"model-{seed}", seed=seed), Lineage())
    registry.promote("stable", 1, "test")
    return registry


class Caller(threading.Thread):
    """Calls without a pause, and keeps every reply and every error."""

    def __init__(self, target):
        super().__init__()
        self._target = target
        self._done = threading.Event()
        self.replies = []
        self.errors = []

    def run(self):
        with Client(self._target, retry=RetryPolicy(attempts=1)) as client:
            while not self._done.is_set():
                try:
                    self.replies.append(client.encode(TEXTS))
                except Exception as error:  # noqa: BLE001 - the test shows whatever it was
                    self.errors.append(error)

    def finish(self):
        self._done.set()
        self.join(30)
        assert not self.is_alive()


def test_no_call_fails_and_no_reply_is_mixed_while_versions_change(registry, start_server):
    server = start_server(registry.url, watch_seconds=0.05)
    with Client(server.target) as client:
        client.wait_ready(240)
        expected = {1: client.encode(TEXTS).vectors}
    callers = [Caller(server.target) for _ in range(4)]
    for caller in callers:
        caller.start()
    old, new = 1, 2
    for turn in range(6):
        moved = [line for line in server.lines if line["event"] == "alias moved"]
        registry.promote("stable", new, "test") if turn % 2 == 0 else registry.rollback("stable", "test")
        server.wait_for_count("alias moved", len(moved) + 1)
        old, new = new, old
    for caller in callers:
        caller.finish()
    with Client(server.target) as client:
        expected[2] = client.encode(TEXTS, version="2").vectors

    replies = [reply for caller in callers for reply in caller.replies]
    assert [error for caller in callers for error in caller.errors] == []
    assert {reply.version for reply in replies} == {1, 2}
    assert not np.allclose(expected[1], expected[2], atol=1e-2)
    for reply in replies:
        assert np.einsum("ij,ij->i", reply.vectors, expected[reply.version]).min() >= 0.9999
    assert server.stop() == 0


def test_a_version_with_one_flipped_byte_never_serves_and_the_server_says_why(registry, tmp_path, start_server):
    weights = tmp_path / "registry" / "versions" / "2" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    server = start_server(registry.url, watch_seconds=0.05)
    with Client(server.target) as client:
        client.wait_ready(240)
        registry.promote("stable", 2, "test")
        logged = server.wait_for("version failed to load; the others are still served", version=2)
        assert "model.safetensors" in logged["reason"]
        assert client.encode(TEXTS).version == 1
        described = client.version("2")
        assert described.state == "failed"
        assert "model.safetensors" in described.reason
    assert server.stop() == 0
