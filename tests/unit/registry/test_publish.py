from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from munjang.errors import (
    ForbiddenFile,
    IncompleteVersion,
    InvalidManifest,
    PathEscape,
    PublishConflict,
    RegistryError,
    RegistryUnavailable,
)
from munjang.registry import Description, Registry
from munjang.registry.layout import RETIRED
from munjang.registry.publish import claim, sweep


def test_the_first_version_is_one_and_the_next_is_two(
    registry: Registry, model: Path, description: Description
) -> None:
    assert registry.publish(model, description).version == 1
    assert registry.publish(model, description).version == 2
    assert registry.versions() == [1, 2]


def test_the_manifest_says_what_every_file_holds(registry: Registry, model: Path, description: Description) -> None:
    manifest = registry.publish(model, description)
    assert registry.manifest(1) == manifest
    assert {entry.path for entry in manifest.files} == {
        "1_Pooling/config.json",
        "model.safetensors",
        "modules.json",
        "vocab.txt",
    }
    for entry in manifest.files:
        data = (model / entry.path).read_bytes()
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert registry.storage.read(f"versions/1/model/{entry.path}") == data
    assert manifest.prompts == {"query": "질문: "}


def test_nothing_is_left_beside_the_model_and_the_manifest(
    registry: Registry, model: Path, description: Description
) -> None:
    registry.publish(model, description)
    assert {path for path in registry.storage.files("versions/1") if not path.startswith("model/")} == {"manifest.json"}


def test_progress_tells_every_byte(registry: Registry, model: Path, description: Description) -> None:
    told: list[int] = []
    manifest = registry.publish(model, description, progress=told.append)
    assert sum(told) == manifest.size_bytes


@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_Pooling/helper.py", ".gitattributes", "optimizer.pt"])
def test_a_folder_with_a_forbidden_file_is_refused_before_a_number_is_spent(
    registry: Registry, model: Path, description: Description, name: str
) -> None:
    (model / name).write_bytes(b"x")
    with pytest.raises(ForbiddenFile, match=name):
        registry.publish(model, description)
    assert not registry.storage.files("versions")


def test_links_to_files_and_folders_are_refused(
    registry: Registry, model: Path, description: Description, tmp_path: Path
) -> None:
    (tmp_path / "비밀.json").write_text("{}")
    (model / "linked.json").symlink_to(tmp_path / "비밀.json")
    with pytest.raises(ForbiddenFile, match=r"linked.json.*link"):
        registry.publish(model, description)
    (model / "linked.json").unlink()
    (model / "2_Dense").symlink_to(tmp_path)
    with pytest.raises(ForbiddenFile, match=r"2_Dense.*link"):
        registry.publish(model, description)


def test_a_pipe_in_the_folder_is_refused_and_not_read(
    registry: Registry, model: Path, description: Description
) -> None:
    os.mkfifo(model / "pipe.json")
    with pytest.raises(ForbiddenFile, match=r"pipe.json"):
        registry.publish(model, description)


def test_a_name_that_is_no_plain_name_is_refused(registry: Registry, model: Path, description: Description) -> None:
    (model / "a\\b.json").write_text("{}")
    with pytest.raises(PathEscape):
        registry.publish(model, description)


def test_a_missing_or_empty_folder_is_refused(registry: Registry, description: Description, tmp_path: Path) -> None:
    with pytest.raises(IncompleteVersion, match="없음"):
        registry.publish(tmp_path / "없음", description)
    (tmp_path / "빈").mkdir()
    with pytest.raises(IncompleteVersion, match="empty"):
        registry.publish(tmp_path / "빈", description)


def test_a_metric_that_is_not_a_number_is_refused_by_name(registry: Registry, model: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"metrics\.spearman"):
        registry.publish(model, Description(dimensions=4, max_tokens=8, metrics={"spearman": float("nan")}))
    assert not registry.storage.files("versions")


def test_a_manifest_can_be_published_again_as_a_description(
    registry: Registry, model: Path, description: Description
) -> None:
    first = registry.publish(model, description)
    again = registry.publish(model, first)
    assert (again.version, again.probes, again.metrics) == (2, first.probes, first.metrics)


def test_two_publishers_at_once_get_numbers_of_their_own(
    registry: Registry, model: Path, description: Description
) -> None:
    with ThreadPoolExecutor(4) as pool:
        manifests = list(pool.map(lambda _: registry.publish(model, description), range(8)))
    assert sorted(manifest.version for manifest in manifests) == list(range(1, 9))
    for manifest in manifests:
        registry.verify(manifest.version)


def test_a_publisher_that_fails_leaves_nothing_but_the_mark_of_its_number(
    registry: Registry, model: Path, description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = registry.storage.write

    def full(path: str, chunks: object) -> None:
        if path.endswith("modules.json"):
            raise RegistryUnavailable("디스크가 가득 찼습니다")
        write(path, chunks)

    monkeypatch.setattr(registry.storage, "write", full)
    with pytest.raises(RegistryUnavailable):
        registry.publish(model, description)
    monkeypatch.undo()
    assert registry.versions() == []
    assert list(registry.storage.files("versions")) == ["1/manifest.json"]
    assert registry.publish(model, description).version == 2


def test_a_version_being_published_is_not_seen(registry: Registry, model: Path, description: Description) -> None:
    seen: list[list[int]] = []
    registry.publish(model, description, progress=lambda _: seen.append(registry.versions()))
    assert seen
    assert all(versions == [] for versions in seen)


def test_a_living_claim_is_left_alone_and_does_not_hold_up_the_next_number(
    registry: Registry, model: Path, description: Description
) -> None:
    living = claim(registry.storage)
    assert registry.publish(model, description).version == 2
    assert "1/claim.json" in registry.storage.files("versions")
    living.commit(registry.storage.read("versions/2/manifest.json"))
    assert registry.versions() == [1, 2]


def test_what_a_dead_publisher_left_is_cleared_by_a_later_one_and_its_number_stays_spent(
    registry: Registry, model: Path, description: Description
) -> None:
    dead = claim(registry.storage)
    registry.storage.write("versions/1/model/model.safetensors", [b"half"])
    assert registry.publish(model, description).version == 2
    sweep(registry.storage, committed=2, lease_seconds=-1)  # later than anything that was written
    assert {path for path in registry.storage.files("versions") if path.startswith("1/")} == {"1/manifest.json"}
    assert registry.storage.read("versions/1/manifest.json") == RETIRED
    assert registry.versions() == [2]
    with pytest.raises(PublishConflict, match="version 1 was given up"):
        dead.commit(b"{}")
    assert registry.publish(model, description).version == 3


def test_a_clearing_that_was_cut_off_is_finished_by_a_later_publish(
    registry: Registry, model: Path, description: Description
) -> None:
    registry.publish(model, description)
    registry.storage.replace("versions/1/manifest.json", RETIRED)
    registry.publish(model, description)
    assert {path for path in registry.storage.files("versions") if path.startswith("1/")} == {"1/manifest.json"}


def test_a_cut_off_manifest_is_reported_and_its_files_are_not_cleared(
    registry: Registry, model: Path, description: Description
) -> None:
    registry.publish(model, description)
    registry.storage.replace("versions/1/manifest.json", b"{" * len(RETIRED))
    registry.publish(model, description)
    sweep(registry.storage, committed=2, lease_seconds=-1)
    assert "1/model/model.safetensors" in registry.storage.files("versions")
    with pytest.raises(RegistryError):
        registry.manifest(1)


def test_leftover_temporary_files_are_cleared_once_they_are_old(
    local: Registry, model: Path, description: Description
) -> None:
    local.publish(model, description)
    local.promote("stable", 1)
    local.storage.write("versions/1/.manifest.json.0123.tmp", [b"{"])
    local.storage.write("aliases/.stable.json.0123.tmp", [b"{"])
    sweep(local.storage, committed=1, lease_seconds=3600)
    assert "1/.manifest.json.0123.tmp" in local.storage.files("versions")
    sweep(local.storage, committed=1, lease_seconds=-1)
    assert "1/.manifest.json.0123.tmp" not in local.storage.files("versions")
    assert [path for path in local.storage.files("aliases") if path.endswith(".tmp")] == []
    local.verify(1)
    assert local.resolve("stable") == 1


def test_a_long_upload_renews_its_claim(
    registry: Registry, model: Path, description: Description, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = []
    replace = registry.storage.replace
    monkeypatch.setattr("munjang.registry.publish.RENEW_SECONDS", 0.0)
    monkeypatch.setattr(registry.storage, "replace", lambda path, data: (renewed.append(path), replace(path, data)))
    registry.publish(model, description)
    assert renewed
    assert set(renewed) == {"versions/1/claim.json"}


def test_a_published_file_can_be_read_by_whom_the_umask_lets(
    local: Registry, model: Path, description: Description
) -> None:
    local.publish(model, description)
    old = os.umask(0)
    os.umask(old)
    for path in ("versions/1/manifest.json", "versions/1/model/model.safetensors"):
        assert (Path(local.url) / path).stat().st_mode & 0o777 == 0o666 & ~old


def test_a_registry_that_cannot_be_written_says_so(model: Path, description: Description, tmp_path: Path) -> None:
    (tmp_path / "파일").write_text("not a folder")
    with pytest.raises(RegistryUnavailable, match="파일"):
        Registry(str(tmp_path / "파일")).publish(model, description)


def test_what_was_there_before_a_folder_became_a_registry_stays(
    local: Registry, model: Path, description: Description
) -> None:
    root = Path(local.url)
    mine = ["versions/7/notes.txt", "versions/8/manifest.json", "versions/8/data.bin", "aliases/draft.tmp", "a.txt"]
    for name in mine:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine", "utf-8")
        os.utime(root / name, (1, 1))
    assert local.publish(model, description).version == 9
    assert [name for name in mine if (root / name).read_text("utf-8") != "mine"] == []
