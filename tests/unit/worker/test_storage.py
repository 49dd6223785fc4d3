"""Output files appear whole or not at all."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from munjang.errors import InvalidJob
from worker.storage import TEMPORARY, Folder

if TYPE_CHECKING:
    from pathlib import Path


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


def test_an_unknown_kind_of_storage_is_refused() -> None:
    with pytest.raises(InvalidJob) as caught:
        Folder("gopher://old/path")
    assert caught.value.field == "output"
