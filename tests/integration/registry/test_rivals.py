"""Several processes act on one registry at once and are killed in the middle of it, while a reader looks on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from munjang.registry import Description, Registry, Watcher, fetch
from munjang.registry.object_storage import ObjectStorage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[[str], subprocess.Popen[str]]

DESCRIPTION = Description(dimensions=4, max_tokens=16)


def lines(actor: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines that an actor prints; it blocks until they are there."""
    assert actor.stdout is not None
    found = [actor.stdout.readline().strip() for _ in range(count)]
    assert all(found), "the actor ended"
    return found


def kill(actor: subprocess.Popen[str]) -> list[str]:
    """Kill an actor wherever it is; what it still had printed."""
    actor.kill()
    output, _ = actor.communicate()
    return [line for line in output.splitlines(keepends=True) if line.endswith("\n")]


def test_publishers_at_once_killed_at_random_never_share_a_number_and_readers_see_whole_versions(
    root: Path, model: Path, start: Start
) -> None:
    registry = Registry(str(root))
    verified: set[int] = set()
    failures: list[Exception] = []
    done = threading.Event()

    def look_all_the_time() -> None:
        while not done.is_set() and not failures:
            try:
                for version in set(registry.versions()) - verified:
                    registry.verify(version)
                    verified.add(version)
            except Exception as error:  # noqa: BLE001 - told by the test
                failures.append(error)

    reader = threading.Thread(target=look_all_the_time)
    reader.start()
    told: list[int] = []
    try:
        actors = [start("publishing") for _ in range(3)]
        told += [int(line) for actor in actors for line in lines(actor, 4)]
        told += [int(line) for actor in actors for line in kill(actor)]
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert len(told) == len(set(told))
    assert set(told) <= set(registry.versions())
    for version in set(registry.versions()) - verified:
        registry.verify(version)
    newest = max(map(int, registry.storage.children("versions")))
    assert registry.publish(model, DESCRIPTION).version == newest + 1


def test_promoters_at_once_killed_at_random_leave_an_alias_that_can_always_be_read(
    root: Path, model: Path, start: Start
) -> None:
    registry = Registry(str(root))
    for _ in range(2):
        registry.publish(model, DESCRIPTION)
    problems: list[object] = []

    def check(snapshot: object) -> None:
        problems.extend(snapshot.problems)  # type: ignore[attr-defined]

    with Watcher(registry, 0.001, check) as watcher:
        actors = [start("promoting") for _ in range(2)]
        for actor in actors:
            lines(actor, 50)
        for actor in actors:
            kill(actor)
        assert watcher.look()
        assert watcher.error is None
        assert watcher.latest is not None
        assert watcher.latest.aliases["stable"] == registry.alias("stable")
    assert problems == []
    record = registry.alias("stable")
    assert {record.version, record.previous} == {1, 2}
    assert registry.rollback("stable").version == record.previous  # no dead process holds the lock


def test_fetchers_at_once_killed_at_random_do_not_harm_each_other(
    root: Path, model: Path, start: Start, tmp_path: Path
) -> None:
    registry = Registry(str(root))
    registry.publish(model, DESCRIPTION)
    actors = [start("fetching") for _ in range(3)]
    folders = {lines(actors[0], 1)[0]}
    kill(actors[0])
    folders |= {line for actor in actors[1:] for line in lines(actor, 3)}
    assert len(folders) == 1
    registry.storage = ObjectStorage(f"file://{root}")
    assert {str(fetch(registry, 1, tmp_path / "캐시"))} == folders
