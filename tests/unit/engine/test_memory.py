"""Whether there is room for one more model, by the system and by the container's limit."""

from __future__ import annotations

import pytest

from munjang.engine import memory


def test_the_container_limit_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")

    assert memory._container_available(tmp_path) == 600


def test_pages_of_files_that_a_container_has_not_used_lately_do_not_count(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\nactive_file 300\ninactive_file 500\n")

    assert memory._container_available(tmp_path) == 600


def test_a_container_of_cgroup_v1_counts_too(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("900\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 500\n")

    assert memory._container_available(tmp_path) == 600


def test_more_cached_than_used_is_not_more_than_the_limit(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("inactive_file 500\n")

    assert memory._container_available(tmp_path) == 1000


def test_a_system_without_cgroups_does_not_tell(tmp_path):
    assert memory._container_available(tmp_path) is None


def test_a_container_without_a_limit_does_not_count(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400\n")

    assert memory._container_available(tmp_path) is None


def test_the_system_tells_what_is_available(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:       7 kB\n")

    assert memory._system_available(tmp_path / "meminfo") == 7 * 1024


def test_a_model_needs_twice_its_size(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 201)

    assert memory.room_for(100)
    assert not memory.room_for(101)


def test_a_system_that_does_not_tell_has_room(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)

    assert memory.room_for(1 << 60)


@pytest.mark.parametrize(("modules", "collections"), [({}, 0), ({"torch": None}, 1)])
def test_only_a_process_with_torch_collects_its_garbage_when_a_model_is_closed(monkeypatch, modules, collections):
    made = []
    monkeypatch.setattr(memory.sys, "modules", modules)
    monkeypatch.setattr(memory.gc, "collect", lambda: made.append(1))
    memory.give_back()

    assert len(made) == collections
