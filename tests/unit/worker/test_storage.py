"""Output files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from munjang.errors import InvalidJob, JobConflict
from munjang_worker.storage import TEMPORARY, Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "출력") if request.param == "local" else f"memory://{tmp_path.name}")


def test_a_file_appears_under_its_name_when_it_is_complete(folder: Folder) -> None:
    with folder.create("깊이/part-00000.txt") as path:
        path.write_text("하나", encoding="utf-8")
        assert folder.size("깊이/part-00000.txt") is None
    assert folder.read("깊이/part-00000.txt") == "하나".encode()
    assert folder.names("깊이") == ["part-00000.txt"]
    assert folder.names(TEMPORARY) == []


def test_a_file_that_is_given_up_leaves_nothing_behind(folder: Folder) -> None:
    def half() -> None:
        with folder.create("part-00000.txt") as path:
            path.write_text("반", encoding="utf-8")
            raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(OSError, match="space"):
        half()
    assert folder.names() == []
    assert folder.names(TEMPORARY) == []


def test_a_file_is_replaced_whole(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.write("a", b"22")
    assert folder.read("a") == b"22"
    assert folder.size("a") == 2


def test_what_is_not_there_is_told_as_such(folder: Folder) -> None:
    assert folder.read("없음") is None
    assert folder.size("없음") is None
    assert folder.names("없음") == []
    folder.remove("없음")


def test_no_name_and_no_link_leads_out_of_the_folder(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "비밀").write_text("비밀", encoding="utf-8")
    with pytest.raises(JobConflict, match="leads out"):
        folder.read("../비밀")
    if folder.local:
        Path(folder.url).mkdir()
        (Path(folder.url) / "link").symlink_to(tmp_path / "비밀")
        with pytest.raises(JobConflict, match="leads out"):
            folder.open("link")
        (tmp_path / "다른 이름").symlink_to(folder.url)
        same = Folder(str(tmp_path / "다른 이름"))
        same.write("a", b"1")
        assert folder.read("a") == same.read("a") == b"1"


def test_an_unknown_kind_of_storage_is_refused() -> None:
    with pytest.raises(InvalidJob) as caught:
        Folder("gopher://old/path")
    assert caught.value.field == "output"


class ObjectStore(MemoryFileSystem):  # type: ignore[misc] # fsspec is not followed by mypy
    """What S3, Google and Azure are to fsspec: no leading slash, no folders, and `makedirs` makes the bucket."""

    protocol = "objects"
    store: ClassVar[dict[str, Any]] = {}
    buckets: ClassVar[set[str]] = set()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("objects://").strip("/")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.buckets.add(path.split("/", maxsplit=1)[0])

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        if rpath.split("/", maxsplit=1)[0] not in self.buckets:
            raise FileNotFoundError(errno.ENOENT, "The specified bucket does not exist")
        self.store[rpath] = Path(lpath).read_bytes()

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self.store[path2] = self.store.pop(path1)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        del self.store[path]

    def isfile(self, path: str) -> bool:
        return path in self.store


def test_a_bucket_that_does_not_exist_is_refused_and_not_made() -> None:
    fsspec.register_implementation("objects", ObjectStore, clobber=True)
    with pytest.raises(InvalidJob, match="bucket does not exist"):
        Folder("objects://vectors/out").prepare()
    assert ObjectStore.buckets == set()
    ObjectStore.buckets.add("vectors")
    Folder("objects://vectors/out").prepare()
    assert ObjectStore.store == {}
    Folder("objects://vectors/out").write("part", b"1")
    assert list(ObjectStore.store) == ["vectors/out/part"]
    with pytest.raises(InvalidJob, match="directory"):
        Folder("objects://vectors/out/part").prepare()


@pytest.mark.parametrize(
    "place", ["file", "file/below/it", "dangling", "loop/below", "한" * 100, "/proc/none", "/dev/null/below", "nu\0ll"]
)
def test_an_output_that_cannot_be_a_folder_is_refused_at_once(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidJob, match="output") as caught:
        Folder(str(tmp_path / place)).prepare()
    assert caught.value.field == "output"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("number", "refused"),
    [(errno.EROFS, True), (errno.EACCES, True), (errno.EPERM, True), (errno.ENOSPC, False), (errno.EIO, False)],
)
def test_a_place_that_may_be_written_to_later_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, refused: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(InvalidJob if refused else OSError, match=os.strerror(number)):
        Folder(str(tmp_path / "출력")).prepare()
