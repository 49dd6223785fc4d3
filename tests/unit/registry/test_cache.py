"""The cache of remote versions stays small, and what is needed stays in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from munjang.registry import Description, Registry, fetch
from munjang.registry.storage import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "캐시"


@pytest.fixture
def publish(memory: Registry, model: Path, description: Description) -> Callable[[int], None]:
    """Publish so many versions."""

    def publish(count: int) -> None:
        for _ in range(count):
            memory.publish(model, description)

    return publish


@pytest.fixture
def fetched(memory: Registry, cache: Path) -> Callable[..., Path]:
    """Fetch a version, and let it look as if that had been long ago; the later, the more recently."""

    def fetched(version: int, **options: object) -> Path:
        folder = fetch(memory, version, cache, **options)  # type: ignore[arg-type]
        os.utime(folder, (version, version))
        return folder

    return fetched


def numbers(cache: Path) -> set[int]:
    """The versions that the cache holds whole."""
    return {int(path.name.split("-")[0]) for path in cache.iterdir() if path.is_dir() and path.name[0] != "."}


def test_the_copies_that_were_used_last_stay(
    cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(4)
    for version in (1, 2, 3):
        fetched(version, most=3)
    assert numbers(cache) == {1, 2, 3}
    os.utime(fetched(1, most=3), (100, 100))
    fetched(4, most=3)
    assert numbers(cache) == {1, 3, 4}


def test_what_an_alias_names_or_could_roll_back_to_stays(
    memory: Registry, cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(4)
    memory.promote("stable", 1)
    memory.promote("stable", 2)
    for version in (1, 2, 3, 4):
        fetched(version, most=1)
    assert numbers(cache) == {1, 2, 4}


def test_what_the_caller_has_loaded_stays(
    cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(3)
    for version in (1, 2):
        fetched(version)
    fetched(3, most=1, loaded={1})
    assert numbers(cache) == {1, 3}


def test_what_somebody_used_within_the_hour_stays(
    memory: Registry, cache: Path, publish: Callable[[int], None]
) -> None:
    publish(3)
    for version in (1, 2, 3):
        fetch(memory, version, cache, most=1)
    assert numbers(cache) == {1, 2, 3}


def test_using_a_copy_again_counts_as_use(
    memory: Registry, cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(3)
    for version in (1, 2):
        fetched(version)
    fetch(memory, 1, cache)
    fetch(memory, 3, cache, most=1)
    assert numbers(cache) == {1, 3}


def test_nothing_goes_while_an_alias_cannot_be_read(
    memory: Registry, cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(2)
    memory.storage.replace("aliases/stable.json", b"{")
    for version in (1, 2):
        fetched(version, most=1)
    assert numbers(cache) == {1, 2}


def test_nothing_goes_that_another_process_downloads(
    cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(2)
    name = fetched(1, most=1).name
    with LocalStorage(cache).lock(f"{name}.lock"):
        fetched(2, most=1)
    assert numbers(cache) == {1, 2}


def test_what_a_killed_download_left_goes_after_an_hour(
    cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(2)
    name = fetched(1).name
    left, recent = cache / f".{name}.partial", cache / f".2-{'0' * 24}.partial"
    for folder in (left, recent):
        folder.mkdir()
    os.utime(left, (1, 1))
    fetched(2)
    assert not left.exists()
    assert recent.exists()
    assert numbers(cache) == {1, 2}


def test_other_folders_of_the_cache_are_left_alone(
    cache: Path, publish: Callable[[int], None], fetched: Callable[..., Path]
) -> None:
    publish(2)
    (cache / "exports").mkdir(parents=True)
    (cache / "내 것").mkdir()
    for version in (1, 2):
        fetched(version, most=1)
    assert {"exports", "내 것"} <= {path.name for path in cache.iterdir()}
    assert [path for path in cache.iterdir() if path.name.startswith("1-") and path.is_dir()] == []
