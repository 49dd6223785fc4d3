"""Output files appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

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
