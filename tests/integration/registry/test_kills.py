"""A registry is acted on by processes that are killed with SIGKILL at every step, one after the other."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from munjang.errors import VersionNotFound
from munjang.registry import Description, Registry, fetch
from munjang.registry.layout import RETIRED
from munjang.registry.object_storage import ObjectStorage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[[str], subprocess.Popen[str]]

DESCRIPTION = Description(dimensions=4, max_tokens=16)
FEWEST_STEPS = {"publish": 40, "promote": 8, "rollback": 8, "remove": 12, "fetch": 10}
"""Fewer, and the steps were not counted, so that nothing was killed."""


@pytest.fixture
def registry(root: Path, model: Path) -> Registry:
    """Two versions, both once named by `stable`."""
    registry = Registry(str(root))
    for version in (1, 2):
        registry.publish(model, DESCRIPTION)
        registry.promote("stable", version)
    return registry


@pytest.fixture
def killed(start: Start) -> Callable[[str], Iterator[int]]:
    """Yields after an action was killed at its first step, its second and so on; ends once it came to its end."""
    mortal = start("mortal")

    def kills(action: str) -> Iterator[int]:
        assert mortal.stdin is not None
        assert mortal.stdout is not None
        for step in itertools.count(1):
            print(action, step, file=mortal.stdin, flush=True)
            answer = mortal.stdout.readline().strip()
            if answer != "killed":
                assert answer not in {"", "failed"}
                assert step > FEWEST_STEPS[action]
                return
            yield step

    return kills


def tree(registry: Registry) -> set[str]:
    return set(registry.storage.files("."))


def expected_tree(registry: Registry, root: Path) -> set[str]:
    """What a registry holds that nobody was killed in: whole versions, marks of retired numbers, aliases."""
    whole = {
        f"versions/{version}/{rest}"
        for version in registry.versions()
        for rest in ["manifest.json", *(f"model/{entry.path}" for entry in registry.manifest(version).files)]
    }
    marks = {
        str(path.relative_to(root)) for path in root.glob("versions/*/manifest.json") if path.read_bytes() == RETIRED
    }
    return (
        whole | marks | {f"aliases/{alias}.json" for alias in registry.aliases()} | {"aliases/.lock", "registry.json"}
    )


def test_a_publisher_killed_at_any_step_leaves_whole_versions_only(
    registry: Registry, model: Path, root: Path, killed: Callable[[str], Iterator[int]]
) -> None:
    seen: set[tuple[int, ...]] = set()
    for _ in killed("publish"):
        seen.add(tuple(registry.versions()))
        for version in registry.versions()[2:]:
            registry.verify(version)
        spent = max(map(int, registry.storage.children("versions")))
        later = Registry(str(root), lease_seconds=-1).publish(model, DESCRIPTION)
        assert later.version == spent + 1
        assert tree(registry) == expected_tree(registry, root)
        for version in (spent, later.version):
            if version > 2:
                registry.storage.remove(f"versions/{version}")
    assert seen == {(1, 2), (1, 2, 3)}  # it was killed before the commit and after it


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_who_changes_an_alias_and_is_killed_leaves_the_old_record_or_the_new_one(
    registry: Registry, model: Path, root: Path, killed: Callable[[str], Iterator[int]], action: str
) -> None:
    for _ in killed(action):
        record = registry.alias("stable")
        assert {record.version, record.previous} == {1, 2}
        assert registry.alias_problems() == {}
    Registry(str(root), lease_seconds=-1).publish(model, DESCRIPTION)
    assert tree(registry) == expected_tree(registry, root)


def test_a_removal_killed_at_any_step_leaves_the_version_whole_or_gone(
    registry: Registry, model: Path, root: Path, killed: Callable[[str], Iterator[int]]
) -> None:
    registry.publish(model, DESCRIPTION)
    for _ in killed("remove"):
        newest = registry.versions()[-1]
        registry.verify(newest)
        if newest == 2:
            with pytest.raises(VersionNotFound):
                registry.manifest(max(map(int, registry.storage.children("versions"))))
            registry.publish(model, DESCRIPTION)
    assert registry.versions() == [1, 2]
    Registry(str(root), lease_seconds=-1).publish(model, DESCRIPTION)
    assert tree(registry) == expected_tree(registry, root)


def test_a_download_killed_at_any_step_never_leaves_a_copy_that_is_taken_for_whole(
    registry: Registry, root: Path, tmp_path: Path, killed: Callable[[str], Iterator[int]]
) -> None:
    registry.storage = ObjectStorage(f"file://{root}")
    manifest = registry.manifest(1)
    cache = tmp_path / "캐시"
    for _ in killed("fetch"):
        for folder in cache.glob("1-*/"):
            if folder.is_dir():
                assert sum(path.stat().st_size for path in folder.rglob("*.*")) >= manifest.size_bytes
    folder = fetch(registry, 1, cache)
    assert sorted(path.name for path in cache.iterdir()) == [folder.name, f"{folder.name}.lock"]
