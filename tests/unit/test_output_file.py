"""A file is written as a whole or not at all, and what is no regular file is written into."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from munjang.output_file import output_file


def write(path, content=b"new"):
    with output_file(path) as file:
        file.write(content)


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "새 파일")
    finally:
        os.umask(before)
    assert (tmp_path / "새 파일").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "새 파일").stat().st_mode) == 0o640
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "비밀"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "파일"
    path.write_bytes(b"old")

    def fail():
        with output_file(path) as file:
            file.write(b"half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_names_is_written(tmp_path, exists):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    if exists:
        real.write_bytes(b"old")
    link.symlink_to(Path("real") / "file")
    write(link)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert [path.name for path in real.parent.iterdir()] == ["file"]


def test_a_pipe_is_written_into(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join(30)
    assert read == [b"new"]
    assert pipe.is_fifo()


def test_a_device_is_written_into():
    """A pseudo-terminal stands for all devices: were it replaced after all, nothing of the machine would be lost."""
    leader, follower = os.openpty()
    try:
        device = Path(os.ttyname(follower))
        write(device)
        assert os.read(leader, 16) == b"new"
        assert device.is_char_device()
    finally:
        os.close(leader)
        os.close(follower)


def test_the_descriptor_of_a_pipe_is_written_into():
    reading, writing = os.pipe()
    try:
        write(Path(f"/dev/fd/{writing}"))
        assert os.read(reading, 16) == b"new"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        write(tmp_path)
