from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from munjang.errors import (
    ConfigurationError,
    ForbiddenFile,
    HashMismatch,
    IncompleteVersion,
    InvalidManifest,
    InvalidOption,
    PathEscape,
    RegistryUnavailable,
    UnsupportedManifest,
    VersionInUse,
    VersionNotFound,
)
from munjang.registry import Description, Registry


@pytest.fixture
def published(registry: Registry, model: Path, description: Description) -> Registry:
    """A registry with three versions."""
    for _ in range(3):
        registry.publish(model, description)
    return registry


def damage(registry: Registry, path: str, data: bytes) -> None:
    registry.storage.replace(f"versions/1/{path}", data)


def test_an_empty_registry_has_nothing(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.aliases() == {}
    with pytest.raises(VersionNotFound, match="versions: none; aliases: none"):
        registry.resolve("")


def test_asking_for_the_registry_touches_nothing(tmp_path: Path) -> None:
    assert Registry(str(tmp_path / "없음")).versions() == []
    assert not (tmp_path / "없음").exists()


def test_a_number_an_alias_and_nothing_at_all_name_a_version(published: Registry) -> None:
    published.promote("stable", 2, "진")
    published.promote("canary", 3)
    assert [published.resolve(name) for name in ("1", "canary", "stable", "")] == [1, 3, 2, 2]


@pytest.mark.parametrize(
    "name", ["4", "beta", "../aliases/stable", "1/../2", "Stable", "한글", "0", "01", "-1", "stable.json"]
)
def test_an_unknown_name_is_not_found_and_told_what_there_is(published: Registry, name: str) -> None:
    published.promote("stable", 2)
    with pytest.raises(VersionNotFound, match="versions: 1, 2, 3; aliases: stable"):
        published.resolve(name)


def test_promoting_remembers_what_was_named_before(published: Registry) -> None:
    first = published.promote("stable", 1, "진")
    assert (first.version, first.previous, first.by) == (1, 0, "진")
    second = published.promote("stable", 3, "지훈")
    assert (second.version, second.previous, second.by) == (3, 1, "지훈")
    assert published.alias("stable") == second
    assert published.aliases() == {"stable": second}


def test_promoting_what_is_named_already_changes_nothing(published: Registry) -> None:
    published.promote("stable", 1)
    record = published.promote("stable", 2, "진")
    assert published.promote("stable", 2, "지훈") == record
    assert published.alias("stable").previous == 1


def test_only_a_committed_version_can_be_promoted(published: Registry) -> None:
    published.storage.create("versions/4/claim.json", b"{}")
    for version in (4, 5, 0, -1):
        with pytest.raises(VersionNotFound, match=f"no version {version}"):
            published.promote("stable", version)
    assert published.aliases() == {}


@pytest.mark.parametrize("alias", ["", "1", "Stable", "a/b", "../stable", "가", "a" * 64, ".lock"])
def test_a_name_that_cannot_be_an_alias_is_refused(published: Registry, alias: str) -> None:
    with pytest.raises(InvalidOption, match="cannot be an alias") as caught:
        published.promote(alias, 1)
    assert caught.value.field == "alias"
    with pytest.raises(InvalidOption):
        published.rollback(alias)


def test_rolling_back_swaps_and_rolling_back_again_goes_forward(published: Registry) -> None:
    published.promote("stable", 1)
    published.promote("stable", 2)
    back = published.rollback("stable", "당직")
    assert (back.version, back.previous, back.by) == (1, 2, "당직")
    assert published.rollback("stable").version == 2


def test_there_is_no_rollback_without_a_previous_version(published: Registry) -> None:
    with pytest.raises(VersionNotFound, match="no alias 'stable'"):
        published.rollback("stable")
    published.promote("stable", 1)
    with pytest.raises(VersionNotFound, match="nothing to go back to"):
        published.rollback("stable")
    assert published.resolve("stable") == 1


def test_there_is_no_rollback_to_a_version_that_is_gone(published: Registry) -> None:
    published.promote("stable", 1)
    published.promote("stable", 2)
    published.remove(1, force=True)
    with pytest.raises(VersionNotFound, match=r"version 1 .*removed"):
        published.rollback("stable")
    assert published.resolve("stable") == 2


def test_promoters_at_once_leave_a_whole_record(published: Registry) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: published.promote("stable", number % 3 + 1), range(30)))
    record = published.alias("stable")
    assert {record.version, record.previous} <= {1, 2, 3}
    assert record.version != record.previous
    assert published.alias_problems() == {}


@pytest.mark.parametrize("data", [b"", b'{"version": 2, "prev', b"\xff\xfe", b'{"version": 0}', b"[]"])
def test_a_half_written_alias_is_reported_and_does_not_hide_the_others(published: Registry, data: bytes) -> None:
    published.promote("stable", 2)
    published.storage.replace("aliases/canary.json", data)
    assert set(published.aliases()) == {"stable"}
    assert set(published.alias_problems()) == {"canary"}
    with pytest.raises(InvalidManifest, match="alias 'canary' is not valid"):
        published.resolve("canary")
    assert published.promote("canary", 3).previous == 0
    assert published.resolve("canary") == 3


def test_strange_names_among_the_aliases_are_reported_or_left_out(published: Registry) -> None:
    published.promote("stable", 1)
    for name in ("7.json", "readme", ".stable.json.tmp"):
        published.storage.replace(f"aliases/{name}", b"{}")
    assert set(published.aliases()) == {"stable"}
    assert set(published.alias_problems()) == {"7"}


def test_strange_names_among_the_versions_are_left_out(published: Registry) -> None:
    for name in ("07", "latest", ".DS_Store", "0", "-1"):
        published.storage.replace(f"versions/{name}/manifest.json", b"{}" * 20)
    published.storage.replace("versions/9", b"a file")
    assert published.versions() == [1, 2, 3]


def test_an_untouched_version_verifies(published: Registry) -> None:
    told: list[int] = []
    manifest = published.verify(1, progress=told.append)
    assert sum(told) == manifest.size_bytes


def test_one_flipped_bit_is_found(published: Registry) -> None:
    data = bytearray(published.storage.read("versions/1/model/model.safetensors"))
    data[1234] ^= 1
    damage(published, "model/model.safetensors", bytes(data))
    with pytest.raises(HashMismatch, match=r"'model.safetensors' of version 1 has sha256"):
        published.verify(1)
    published.verify(2)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_a_file_that_is_shorter_or_longer_is_found(published: Registry, change: object) -> None:
    damage(published, "model/vocab.txt", change(published.storage.read("versions/1/model/vocab.txt")))
    with pytest.raises(HashMismatch, match=r"'vocab.txt' of version 1 has \d+ bytes; its manifest says"):
        published.verify(1)


def test_a_missing_file_is_found(published: Registry) -> None:
    published.storage.remove("versions/1/model/vocab.txt")
    with pytest.raises(IncompleteVersion, match=r"'vocab.txt' of version 1 is missing"):
        published.verify(1)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra.json", "sub/.hidden.json"])
def test_a_file_that_the_manifest_does_not_name_is_refused(published: Registry, name: str) -> None:
    damage(published, f"model/{name}", b"x")
    with pytest.raises(ForbiddenFile, match=name):
        published.verify(1)


def test_a_manifest_of_a_newer_format_is_unsupported(published: Registry) -> None:
    damage(published, "manifest.json", b'{"format": 2, "version": 1}')
    with pytest.raises(UnsupportedManifest):
        published.verify(1)
    assert published.versions() == [1, 2, 3]


def test_a_version_whose_manifest_is_cut_off_cannot_be_promoted(published: Registry) -> None:
    damage(published, "manifest.json", b'{"format": 1, "vers')
    with pytest.raises(InvalidManifest, match="version 1"):
        published.promote("stable", 1)


def test_a_removed_version_is_gone_and_its_number_is_never_given_again(
    published: Registry, model: Path, description: Description
) -> None:
    published.remove(3)
    assert published.versions() == [1, 2]
    with pytest.raises(VersionNotFound, match=r"version 3 .*removed"):
        published.manifest(3)
    assert [path for path in published.storage.files("versions") if path.startswith("3/model")] == []
    assert published.publish(model, description).version == 4
    with pytest.raises(VersionNotFound):
        published.remove(3)
    with pytest.raises(VersionNotFound):
        published.remove(9)


def test_a_version_that_an_alias_names_is_not_removed_even_by_force(published: Registry) -> None:
    published.promote("stable", 2)
    for force in (False, True):
        with pytest.raises(VersionInUse, match="alias 'stable' names version 2"):
            published.remove(2, force=force)
    assert published.versions() == [1, 2, 3]


def test_a_version_that_an_alias_could_roll_back_to_is_removed_by_force_only(published: Registry) -> None:
    published.promote("stable", 1)
    published.promote("stable", 2)
    with pytest.raises(VersionInUse, match="could roll back to version 1"):
        published.remove(1)
    published.remove(1, force=True)
    assert published.versions() == [2, 3]


def test_nothing_is_removed_while_an_alias_cannot_be_read(published: Registry) -> None:
    published.storage.replace("aliases/canary.json", b"{")
    with pytest.raises(InvalidManifest, match="promote 'canary' again first"):
        published.remove(1)
    assert published.versions() == [1, 2, 3]


def test_a_registry_is_empty_for_nobody_who_may_not_read_it(tmp_path: Path) -> None:
    (tmp_path / "파일").write_text("not a folder")
    with pytest.raises(RegistryUnavailable, match="파일"):
        Registry(str(tmp_path / "파일")).versions()


def test_a_link_in_place_of_a_file_or_folder_is_refused(
    local: Registry, model: Path, description: Description, tmp_path: Path
) -> None:
    for _ in range(3):
        local.publish(model, description)
    versions = Path(local.url) / "versions"
    (versions / "1/model/vocab.txt").unlink()
    (versions / "1/model/vocab.txt").symlink_to(model / "vocab.txt")
    with pytest.raises(ForbiddenFile, match=r"vocab.txt.*link"):
        local.verify(1)
    (versions / "2/model/1_Pooling").rename(tmp_path / "elsewhere")
    (versions / "2/model/1_Pooling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForbiddenFile, match="1_Pooling"):
        local.verify(2)
    (versions / "3/model").rename(tmp_path / "model-elsewhere")
    (versions / "3/model").symlink_to(tmp_path / "model-elsewhere")
    with pytest.raises(PathEscape, match="versions/3/model"):
        local.verify(3)


def test_an_alias_that_is_a_link_is_reported(
    local: Registry, model: Path, description: Description, tmp_path: Path
) -> None:
    local.publish(model, description)
    local.promote("stable", 1)
    (tmp_path / "target").write_text("{}")
    (Path(local.url) / "aliases/canary.json").symlink_to(tmp_path / "target")
    assert set(local.aliases()) == {"stable"}
    assert "link" in local.alias_problems()["canary"]


@pytest.mark.parametrize("url", ["", "  ", "nosuchprotocol://bucket/models", "memory://"])
def test_an_address_that_names_nothing_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Registry(url)
    assert caught.value.field == "registry"


def test_a_path_a_home_path_and_a_file_url_name_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    places = ["모델 들", "~/모델 들", (tmp_path / "모델 들").as_uri(), str(tmp_path / "모델 들")]
    assert {Registry(place).url for place in places} == {str(tmp_path / "모델 들")}


def test_reading_needs_no_right_to_write(local: Registry, model: Path, description: Description) -> None:
    local.publish(model, description)
    local.promote("stable", 1)
    before = {path: os.stat(path).st_mtime_ns for path in Path(local.url).rglob("*")}  # noqa: PTH116 - one call a path
    local.versions()
    local.resolve("stable")
    local.verify(1)
    assert {path: os.stat(path).st_mtime_ns for path in Path(local.url).rglob("*")} == before  # noqa: PTH116 - the same
