from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from munjang.errors import ForbiddenFile, PathEscape, RegistryUnavailable
from munjang.registry.storage import LocalStorage, without_password

if TYPE_CHECKING:
    from munjang.registry import Registry


def test_an_exclusive_create_succeeds_once(registry: Registry) -> None:
    storage = registry.storage
    assert storage.create("a/b.json", b"first")
    assert not storage.create("a/b.json", b"second")
    assert storage.read("a/b.json") == b"first"


def test_creating_again_what_is_there_counts_as_created(registry: Registry) -> None:
    """A request that is repeated because its answer was lost finds its own file."""
    assert registry.storage.create("a/b.json", b"same")
    assert registry.storage.create("a/b.json", b"same")


def test_replacing_and_removing_work_whether_or_not_there_is_something(registry: Registry) -> None:
    storage = registry.storage
    storage.replace("a/b.json", b"1")
    storage.replace("a/b.json", b"2")
    assert storage.read("a/b.json") == b"2"
    storage.remove("a")
    storage.remove("a")
    storage.remove("a/b.json")
    assert storage.files("a") == {}
    with pytest.raises(FileNotFoundError):
        storage.read("a/b.json")
    with pytest.raises(FileNotFoundError):
        list(storage.chunks("a/b.json"))


def test_listings_name_files_by_their_place_below_the_folder(registry: Registry) -> None:
    storage = registry.storage
    for path in ("v/1/m.json", "v/1/model/a.json", "v/2/model/b.json", "v/m.json"):
        storage.write(path, [b"x", b"yz"])
    assert {path: info.size for path, info in storage.files("v").items()} == {
        "1/m.json": 3,
        "1/model/a.json": 3,
        "2/model/b.json": 3,
        "m.json": 3,
    }
    assert storage.children("v") == ["1", "2", "m.json"]
    assert set(storage.marks("v", "m.json")) == {"1"}
    assert storage.children("w") == []
    assert storage.marks("w", "m.json") == {}


def test_a_large_file_comes_back_in_pieces_as_it_was(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("munjang.registry.object_storage.BLOCK", 1000)
    monkeypatch.setattr("munjang.registry.storage.CHUNK", 1000)
    data = os.urandom(4321)
    registry.storage.write("a/big", [data[:5], b"", data[5:]])
    pieces = list(registry.storage.chunks("a/big"))
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [1000, 1000, 1000, 1000, 321]


def test_writing_again_changes_the_stamp(registry: Registry) -> None:
    registry.storage.replace("v/1/m.json", b"1")
    before = registry.storage.marks("v", "m.json")["1"].stamp
    registry.storage.replace("v/1/m.json", b"22")
    assert registry.storage.marks("v", "m.json")["1"].stamp != before


@pytest.mark.parametrize("path", ["../a.json", "a/../../b.json", "/etc/passwd"])
def test_a_path_that_leaves_the_root_is_refused(local: Registry, path: str) -> None:
    with pytest.raises(PathEscape, match="leaves the registry"):
        local.storage.read(path)


def test_a_link_or_a_pipe_is_never_read(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "real").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(ForbiddenFile, match=name):
            storage.read(name)


def test_everything_is_on_the_disk_before_the_name_that_commits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not leave a manifest whose bytes, or whose model, were not written."""
    order: list[str] = []
    fsync, link = os.fsync, os.link

    def spied_fsync(file: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file"
        order.append(f"{kind} {Path(f'/proc/self/fd/{file}').readlink().name}")
        fsync(file)

    def spied_link(source: Path, target: Path) -> None:
        order.append(f"link {target.name}")
        link(source, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not tell an open file's name")
    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "link", spied_link)
    storage = LocalStorage(tmp_path)
    storage.write("7/model/a.safetensors", [b"weights"])
    storage.create("7/manifest.json", b"{}")
    position = order.index("link manifest.json")
    before, after = order[:position], order[position + 1 :]
    assert {"file a.safetensors", "folder model", "folder 7"} <= set(before)
    assert before[-1].startswith("file .manifest.json")
    assert after == ["folder 7"]


def test_a_file_system_without_hard_links_still_creates_exclusively(
    local: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert local.storage.create("a.json", b"1")
    assert not local.storage.create("a.json", b"2")
    assert local.storage.children(".") == ["a.json"]


def test_a_lock_that_stays_taken_is_given_up(local: Registry) -> None:
    with (
        local.storage.lock("aliases/.lock"),
        pytest.raises(RegistryUnavailable, match=r"another process has held .*\.lock"),
        local.storage.lock("aliases/.lock", 0.01),
    ):
        pass


def test_a_lock_lets_one_in_at_a_time(local: Registry) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with local.storage.lock("aliases/.lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_a_full_disk_is_told_with_the_place(local: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RegistryUnavailable, match=r"writing aliases/stable.json failed in .*No space left"):
        local.storage.replace("aliases/stable.json", b"{}")
    monkeypatch.undo()
    assert local.storage.children("aliases") == []


def test_a_missing_bucket_is_told_from_a_registry_with_nothing_in_it(
    memory: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = memory.storage._fs

    def nothing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(filesystem, "find", nothing)
    monkeypatch.setattr(filesystem, "exists", lambda _: True)
    assert memory.versions() == []
    monkeypatch.setattr(filesystem, "exists", lambda _: False)
    with pytest.raises(RegistryUnavailable, match="there is no 'registry-"):
        memory.versions()


def test_whatever_a_backend_raises_is_told_as_a_registry_out_of_reach(
    memory: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndpointError(Exception):
        """As client libraries of object stores raise their own."""

    def fail(*_: object, **__: object) -> None:
        raise EndpointError

    for name in ("find", "cat_file", "pipe_file", "open", "info"):
        monkeypatch.setattr(memory.storage._fs, name, fail)
    for action in (
        memory.versions,
        lambda: memory.manifest(1),
        lambda: memory.storage.create("a", b""),
        lambda: memory.storage.replace("a", b""),
        lambda: memory.storage.write("a", [b""]),
        lambda: list(memory.storage.chunks("a")),
        lambda: memory.storage.remove("a"),
    ):
        with pytest.raises(RegistryUnavailable, match="EndpointError"):
            action()


@pytest.mark.parametrize(
    "written", [1.5, "1970-01-01T00:00:01.500000+00:00", datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)]
)
def test_backends_may_tell_the_time_of_a_file_in_their_own_way(
    memory: Registry, monkeypatch: pytest.MonkeyPatch, written: object
) -> None:
    listing = {f"/{memory.url.removeprefix('memory://')}/v/a": {"size": 1, "LastModified": written}}
    monkeypatch.setattr(memory.storage._fs, "find", lambda *_, **__: listing)
    assert memory.storage.files("v")["a"].modified == 1.5


def test_passwords_are_not_shown() -> None:
    assert without_password("sftp://user:pa55@host/models") == "sftp://host/models"
    assert without_password("s3://bucket/models") == "s3://bucket/models"


def test_importing_the_registry_is_light() -> None:
    heavy = "{'torch', 'transformers', 'fsspec', 'filelock', 'grpc', 'redis'}"
    code = f"import sys, munjang.registry; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
