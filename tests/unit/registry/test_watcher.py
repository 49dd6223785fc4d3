from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from munjang.errors import ConfigurationError, RegistryUnavailable
from munjang.registry import Description, Registry, Snapshot, Watcher
from munjang.registry.watcher import CLOSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEVER = 3600.0
"""An interval at which nothing happens by itself: the tests ask for each look."""


@pytest.fixture
def published(registry: Registry, model: Path, description: Description) -> Registry:
    for _ in range(2):
        registry.publish(model, description)
    registry.promote("stable", 1)
    return registry


@pytest.fixture
def seen() -> list[Snapshot]:
    return []


@pytest.fixture
def watcher(published: Registry, seen: list[Snapshot]) -> Iterator[Watcher]:
    """Has looked once."""
    with Watcher(published, NEVER, seen.append) as watcher:
        assert watcher.look()
        yield watcher


def break_down(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> Any:
        raise RegistryUnavailable("연결할 수 없습니다")

    monkeypatch.setattr(registry.storage, "marks", unreachable)


def test_the_first_look_tells_everything(watcher: Watcher, seen: list[Snapshot]) -> None:
    (snapshot,) = seen
    assert list(snapshot.versions) == [1, 2]
    assert snapshot.versions[2].version == 2
    assert snapshot.aliases["stable"].version == 1
    assert not snapshot.problems
    assert watcher.latest is snapshot
    assert watcher.error is None


def test_nothing_is_told_while_nothing_changes(watcher: Watcher, seen: list[Snapshot]) -> None:
    for _ in range(3):
        assert watcher.look()
    assert len(seen) == 1


def test_every_change_is_told(
    watcher: Watcher, seen: list[Snapshot], published: Registry, model: Path, description: Description
) -> None:
    changes = [
        lambda: published.publish(model, description),
        lambda: published.promote("stable", 3),
        lambda: published.rollback("stable"),
        lambda: published.promote("canary", 2),
        lambda: published.remove(3, force=True),
        lambda: published.storage.remove("aliases/canary.json"),
    ]
    for number, change in enumerate(changes, start=2):
        change()
        assert watcher.look()
        assert len(seen) == number
    assert list(seen[-1].versions) == [1, 2]
    assert {name: record.version for name, record in seen[-1].aliases.items()} == {"stable": 1}


def test_a_manifest_is_read_once(watcher: Watcher, published: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    manifest = published.manifest
    monkeypatch.setattr(published, "manifest", lambda version: (read.append(version), manifest(version))[1])
    published.promote("stable", 2)
    assert watcher.look()
    assert watcher.latest is not None
    assert watcher.latest.aliases["stable"].version == 2
    assert 1 not in read[1:]  # promoting reads the manifest of 2, watching none


def test_a_half_written_alias_keeps_its_last_good_value_and_is_reported(
    watcher: Watcher, seen: list[Snapshot], published: Registry
) -> None:
    published.promote("canary", 2)
    assert watcher.look()
    published.storage.replace("aliases/stable.json", b'{"version": 2, "prev')
    published.storage.replace("aliases/new.json", b"")
    assert watcher.look()
    assert {name: record.version for name, record in seen[-1].aliases.items()} == {"canary": 2, "stable": 1}
    assert set(seen[-1].problems) == {"aliases/stable.json", "aliases/new.json"}
    assert "not valid" in seen[-1].problems["aliases/stable.json"]
    assert watcher.look()
    assert seen[-1].aliases["stable"].version == 1
    published.promote("stable", 2)
    published.storage.remove("aliases/new.json")
    assert watcher.look()
    assert seen[-1].aliases["stable"].version == 2
    assert not seen[-1].problems


def test_a_version_with_a_damaged_manifest_is_reported_and_the_others_are_told(
    watcher: Watcher, seen: list[Snapshot], published: Registry
) -> None:
    published.storage.replace("versions/2/manifest.json", b'{"format": 7}')
    assert watcher.look()
    assert list(seen[-1].versions) == [1]
    assert "format 7" in seen[-1].problems["versions/2"]


def test_a_registry_out_of_reach_keeps_the_last_snapshot_and_shows_the_error(
    watcher: Watcher, seen: list[Snapshot], published: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        break_down(published, broken)
        for _ in range(3):
            assert watcher.look()
        assert isinstance(watcher.error, RegistryUnavailable)
        assert watcher.latest is seen[0]
        assert len(seen) == 1
    published.promote("stable", 2)
    assert watcher.look()
    assert watcher.error is None
    assert seen[-1].aliases["stable"].version == 2


def test_a_registry_that_is_out_of_reach_from_the_start_is_waited_for(
    published: Registry, seen: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(published, NEVER, seen.append)
    with monkeypatch.context() as broken:
        break_down(published, broken)
        watcher.start()
        assert watcher.look()
        assert watcher.latest is None
    assert watcher.look()
    assert watcher.latest is seen[0]
    watcher.close()


def test_a_registry_that_is_suddenly_empty_is_an_unmounted_disk_and_not_an_order_to_forget(
    watcher: Watcher, seen: list[Snapshot], published: Registry
) -> None:
    published.storage.remove("aliases")
    published.storage.remove("versions")
    assert watcher.look()
    assert "suddenly empty" in str(watcher.error)
    assert watcher.latest is seen[-1]
    assert list(seen[-1].versions) == [1, 2]


def test_an_empty_registry_is_no_error_and_its_first_version_is_told(
    registry: Registry, model: Path, description: Description, seen: list[Snapshot]
) -> None:
    with Watcher(registry, NEVER, seen.append) as watcher:
        assert watcher.look()
        assert watcher.error is None
        assert seen[-1].empty
        registry.publish(model, description)
        assert watcher.look()
    assert list(seen[-1].versions) == [1]


def test_a_callback_that_fails_is_called_again_and_watching_goes_on(published: Registry) -> None:
    calls: list[Snapshot] = []

    def clumsy(snapshot: Snapshot) -> None:
        calls.append(snapshot)
        if len(calls) == 1:
            raise ValueError("아직 준비되지 않음")

    with Watcher(published, NEVER, clumsy) as watcher:
        for _ in range(3):
            assert watcher.look()
    assert len(calls) == 2
    assert calls[0] == calls[1]


def test_it_looks_by_itself_at_its_interval(published: Registry) -> None:
    changed = threading.Event()

    def callback(snapshot: Snapshot) -> None:
        if snapshot.aliases["stable"].version == 2:
            changed.set()

    with Watcher(published, 0.01, callback) as watcher:
        assert watcher.look()
        published.promote("stable", 2)
        assert changed.wait(10)


def test_the_callback_runs_in_a_thread_of_the_watcher(published: Registry) -> None:
    threads: list[str] = []
    with Watcher(published, NEVER, lambda _: threads.append(threading.current_thread().name)) as watcher:
        assert watcher.look()
    assert threads == ["munjang-registry-watcher"]


def test_closing_ends_the_thread_and_the_callbacks(watcher: Watcher, seen: list[Snapshot], published: Registry) -> None:
    watcher.close()
    watcher.close()
    assert not watcher._thread.is_alive()
    published.promote("stable", 2)
    assert not watcher.look(timeout=60)  # returns at once: nothing will look any more
    assert len(seen) == 1


def test_closing_does_not_wait_for_a_storage_that_hangs(published: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, release = threading.Event(), threading.Event()
    told: list[Snapshot] = []
    marks = published.storage.marks

    def hang(*arguments: str) -> Any:
        hanging.set()
        release.wait()
        return marks(*arguments)

    monkeypatch.setattr(published.storage, "marks", hang)
    watcher = Watcher(published, NEVER, told.append).start()
    assert hanging.wait(10)
    started = time.monotonic()
    watcher.close()
    assert time.monotonic() - started < CLOSE_SECONDS + 5
    release.set()
    watcher._thread.join(10)
    assert not watcher._thread.is_alive()
    assert told == []


def test_closing_from_the_callback_does_not_wait_for_itself(published: Registry) -> None:
    closed = threading.Event()
    watcher = Watcher(published, NEVER, lambda _: (watcher.close(), closed.set()))
    watcher.start()
    assert closed.wait(10)
    watcher._thread.join(10)
    assert not watcher._thread.is_alive()


def test_closing_in_the_instant_before_a_look_is_not_missed(
    published: Registry, seen: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(published, NEVER, seen.append)
    clear = watcher._wake.clear
    monkeypatch.setattr(watcher._wake, "clear", lambda: (watcher.close(), clear()))
    watcher.start()
    watcher._thread.join(10)
    assert not watcher._thread.is_alive()
    assert seen == []


def test_a_watcher_that_was_never_started_can_be_closed(published: Registry) -> None:
    Watcher(published).close()


def test_the_interval_is_that_of_the_storage_unless_one_is_given(local: Registry, memory: Registry) -> None:
    assert Watcher(local).interval == 1
    assert Watcher(memory).interval == 5
    assert Watcher(memory, 0.5).interval == 0.5
    with pytest.raises(ConfigurationError, match="negative"):
        Watcher(local, -1)
