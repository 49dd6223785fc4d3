"""What server and worker show alike: their process and release, disks, and the depth of the queue."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

import munjang
from munjang.metrics import Disks, QueueDepth, new_registry
from munjang_server.metrics import show_queue
from munjang_worker.metrics import Metrics
from tests.ports import free_port

WAITING = {"state": "waiting"}


@pytest.mark.parametrize("program", ["server", "worker"])
def test_a_program_shows_its_process_and_release_and_no_times_of_creation(program):
    registry = new_registry(program) if program == "server" else Metrics().registry
    Counter("munjang_test_calls", "Of this test.", registry=registry).inc()
    shown = generate_latest(registry).decode()
    assert "process_resident_memory_bytes" in shown
    assert f'munjang_{program}_build_info{{release="{munjang.__version__}"}} 1.0' in shown
    assert "_created" not in shown


def test_the_queue_shows_what_waits_and_what_runs():
    registry = CollectorRegistry()
    registry.register(QueueDepth(lambda: (3, 1)))
    assert registry.get_sample_value("munjang_queue_steps", WAITING) == 3
    assert registry.get_sample_value("munjang_queue_steps", {"state": "running"}) == 1


def test_a_queue_that_is_away_shows_nothing():
    registry = CollectorRegistry()
    registry.register(QueueDepth(lambda: None))
    show_queue(registry, f"redis://127.0.0.1:{free_port()}/0")
    show_queue(registry, "http://큐가-아님")
    show_queue(registry, "")
    assert list(registry.collect()) == []


def test_the_disks_of_two_programs_are_told_apart(tmp_path):
    registry = CollectorRegistry()
    registry.register(Disks("server", {"registry": tmp_path}))
    registry.register(Disks("worker", {"output": tmp_path / "아직 없음"}))
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert names == {f"munjang_{who}_disk_{what}_bytes" for who in ("server", "worker") for what in ("free", "size")}
