from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from munjang.errors import (
    ForbiddenFile,
    HashMismatch,
    IncompleteVersion,
    PathEscape,
    RegistryUnavailable,
    UnsupportedManifest,
    VersionNotFound,
)
from munjang.registry import Description, Registry, fetch


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "캐시"


@pytest.fixture
def published(registry: Registry, model: Path, description: Description) -> Registry:
    registry.publish(model, description)
    return registry


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_fetched_folder_holds_what_was_published(published: Registry, model: Path, cache: Path) -> None:
    assert contents(fetch(published, 1, cache)) == contents(model)


def test_a_local_version_is_used_where_it_lies(
    local: Registry, model: Path, description: Description, cache: Path
) -> None:
    local.publish(model, description)
    assert fetch(local, 1, cache) == Path(local.url) / "versions/1/model"
    assert not cache.exists()


def test_a_remote_version_is_downloaded_once(
    memory: Registry, model: Path, description: Description, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = memory.publish(model, description)
    told: list[int] = []
    first = fetch(memory, 1, cache, progress=told.append)
    assert sum(told) == manifest.size_bytes
    monkeypatch.setattr(memory.storage, "chunks", None)
    assert fetch(memory, 1, cache) == first
    assert [name for name in os.listdir(cache) if name.endswith(".partial")] == []  # noqa: PTH208 - names, not paths


def test_the_same_number_of_two_registries_does_not_mix(
    memory: Registry, model: Path, description: Description, cache: Path
) -> None:
    other = Registry(f"{memory.url}-다른")
    memory.publish(model, description)
    (model / "vocab.txt").write_text("다른 어휘", encoding="utf-8")
    other.publish(model, description)
    assert fetch(memory, 1, cache) != fetch(other, 1, cache)
    other.storage.remove("versions")


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "add", "link"])
def test_a_damaged_cached_copy_is_fetched_again(
    memory: Registry, model: Path, description: Description, cache: Path, damage: str
) -> None:
    memory.publish(model, description)
    folder = fetch(memory, 1, cache)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    match damage:
        case "flip":
            weights.write_bytes(b"\xff" + data[1:])
        case "cut":
            weights.write_bytes(data[:-7])
        case "delete":
            weights.unlink()
        case "add":
            (folder / "pytorch_model.bin").write_bytes(b"pickle")
        case "link":
            weights.rename(cache / "elsewhere")
            weights.symlink_to(cache / "elsewhere")
    assert contents(fetch(memory, 1, cache)) == contents(model)


def test_a_cache_entry_that_is_a_link_is_replaced_and_its_target_left_alone(
    memory: Registry, model: Path, description: Description, cache: Path, tmp_path: Path
) -> None:
    memory.publish(model, description)
    folder = fetch(memory, 1, cache)
    folder.rename(tmp_path / "target")
    folder.symlink_to(tmp_path / "target")
    assert not fetch(memory, 1, cache).is_symlink()
    assert contents(tmp_path / "target") == contents(model)


def test_what_a_killed_download_left_is_removed_by_the_next(
    memory: Registry, model: Path, description: Description, cache: Path
) -> None:
    memory.publish(model, description)
    fetch(memory, 1, cache).rename(cache / "moved")
    (partial,) = [f".{lock.name.removesuffix('.lock')}.partial" for lock in cache.glob("*.lock")]
    (cache / partial).mkdir()
    (cache / partial / "leftover.bin").write_bytes(b"half")
    assert contents(fetch(memory, 1, cache)) == contents(model)
    assert not (cache / partial).exists()


def test_fetchers_at_once_all_get_the_whole_version(
    memory: Registry, model: Path, description: Description, cache: Path
) -> None:
    memory.publish(model, description)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: fetch(memory, 1, cache), range(8)))
    assert len(folders) == 1
    assert contents(folders.pop()) == contents(model)


def test_a_flipped_bit_is_refused_and_nothing_is_kept(published: Registry, cache: Path) -> None:
    data = bytearray(published.storage.read("versions/1/model/model.safetensors"))
    data[-1] ^= 0x80
    published.storage.replace("versions/1/model/model.safetensors", bytes(data))
    with pytest.raises(HashMismatch, match=r"model.safetensors.*sha256"):
        fetch(published, 1, cache)
    assert [path for path in cache.rglob("*") if path.suffix != ".lock"] == []


def test_a_file_that_grows_while_it_is_read_is_refused(
    published: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = published.storage.chunks
    monkeypatch.setattr(published.storage, "chunks", lambda path: [*chunks(path), b"more" * ("/model/" in path)])
    with pytest.raises(HashMismatch, match="has more than"):
        fetch(published, 1, cache)


def test_a_file_that_ends_early_is_refused(published: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = published.storage.chunks
    monkeypatch.setattr(
        published.storage, "chunks", lambda path: [b"".join(chunks(path))[: -1 if "/model/" in path else None]]
    )
    with pytest.raises(HashMismatch, match="has less than"):
        fetch(published, 1, cache)


def test_a_missing_file_is_refused(published: Registry, cache: Path) -> None:
    published.storage.remove("versions/1/model/modules.json")
    with pytest.raises(IncompleteVersion, match=r"modules.json"):
        fetch(published, 1, cache)


def test_a_file_that_vanishes_after_the_listing_is_missing_too(
    published: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = published.storage.files("versions/1/model")
    published.storage.remove("versions/1/model/modules.json")
    monkeypatch.setattr(published.storage, "files", lambda _: listing)
    with pytest.raises(IncompleteVersion, match=r"modules.json"):
        fetch(published, 1, cache)


def test_a_pickle_beside_the_model_is_refused(published: Registry, cache: Path) -> None:
    published.storage.replace("versions/1/model/pytorch_model.bin", b"\x80\x04")
    with pytest.raises(ForbiddenFile, match=r"pytorch_model.bin"):
        fetch(published, 1, cache)


@pytest.mark.parametrize(
    ("path", "error"), [("../../2/model/vocab.txt", PathEscape), ("training_args.bin", ForbiddenFile)]
)
def test_a_manifest_that_names_what_it_may_not_is_refused(
    published: Registry, cache: Path, path: str, error: type[Exception]
) -> None:
    text = published.storage.read("versions/1/manifest.json").decode().replace('"vocab.txt"', f'"{path}"')
    published.storage.replace("versions/1/manifest.json", text.encode())
    with pytest.raises(error):
        fetch(published, 1, cache)
    assert not cache.exists()


def test_a_newer_manifest_an_unknown_and_a_removed_version_are_refused(
    published: Registry, model: Path, description: Description, cache: Path
) -> None:
    published.publish(model, description)
    published.remove(2)
    published.storage.replace("versions/1/manifest.json", b'{"format": 99}')
    with pytest.raises(UnsupportedManifest, match="format 99"):
        fetch(published, 1, cache)
    for version in (2, 3):
        with pytest.raises(VersionNotFound):
            fetch(published, version, cache)


def test_a_cache_that_cannot_be_written_is_told_with_its_place(
    memory: Registry, model: Path, description: Description, tmp_path: Path
) -> None:
    memory.publish(model, description)
    (tmp_path / "파일").write_text("not a folder")
    with pytest.raises(RegistryUnavailable, match="파일"):
        fetch(memory, 1, tmp_path / "파일")
