"""The metrics of the registry: whether it can be read, and how much room is left."""

from __future__ import annotations

import shutil

import pytest
from prometheus_client import CollectorRegistry

from munjang_server.metrics import show_registry


def test_the_room_is_that_of_the_disk_even_before_the_folder_exists(tmp_path):
    registry = CollectorRegistry()
    show_registry(registry, lambda: None, {"registry": tmp_path / "not" / "yet", "cache": tmp_path})
    usage = shutil.disk_usage(tmp_path)
    for place in ("registry", "cache"):
        labels = {"place": place}
        assert registry.get_sample_value("munjang_server_disk_size_bytes", labels) == usage.total
        assert registry.get_sample_value("munjang_server_disk_free_bytes", labels) == pytest.approx(usage.free, rel=0.1)


def test_a_disk_that_cannot_be_looked_at_is_left_out_and_hides_no_other(tmp_path, monkeypatch):
    real = shutil.disk_usage

    def broken(folder):
        if folder == tmp_path / "broken":
            raise OSError("장치 오류")
        return real(folder)

    (tmp_path / "broken").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", broken)
    registry = CollectorRegistry()
    show_registry(registry, lambda: None, {"registry": tmp_path / "broken", "cache": tmp_path})
    assert registry.get_sample_value("munjang_server_disk_free_bytes", {"place": "registry"}) is None
    assert registry.get_sample_value("munjang_server_disk_free_bytes", {"place": "cache"}) is not None


def test_a_registry_that_cannot_be_read_shows_while_it_cannot():
    registry, errors = CollectorRegistry(), []
    show_registry(registry, lambda: errors[-1] if errors else None, {})
    assert registry.get_sample_value("munjang_server_registry_readable") == 1
    errors.append(OSError("저장소에 닿지 않습니다"))
    assert registry.get_sample_value("munjang_server_registry_readable") == 0
