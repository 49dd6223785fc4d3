import os
import threading
from pathlib import Path

import numpy as np
import pytest

from munjang.cli.encode import NpyWriter
from munjang.errors import ConfigurationError


def test_rows_that_come_in_pieces_are_one_matrix(tmp_path):
    path = tmp_path / "벡터.npy"
    rows = np.arange(7000 * 3, dtype=np.float32).reshape(-1, 3)
    with NpyWriter(path, 7000) as file:
        for start in range(0, 7000, 999):
            file.write(rows[start : start + 999])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ["벡터.npy"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "벡터.npy"
    path.write_bytes(b"old")

    def fail():
        with NpyWriter(path, 2) as file:
            file.write(np.zeros((2, 3), np.float32))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        NpyWriter(tmp_path / "없음" / "벡터.npy", 1)


def test_a_pipe_gets_the_rows_and_stays_a_pipe(tmp_path):
    pipe, rows, read = tmp_path / "관", np.arange(6, dtype=np.float32).reshape(2, 3), []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with NpyWriter(pipe, 2) as file:
        file.write(rows[:1])
        file.write(rows[1:])
    reader.join(30)
    assert pipe.is_fifo()
    np.save(tmp_path / "모두.npy", rows)
    assert read == [(tmp_path / "모두.npy").read_bytes()]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "진짜").mkdir()
    link, real = tmp_path / "연결.npy", tmp_path / "진짜" / "벡터.npy"
    link.symlink_to(real)
    with NpyWriter(link, 1) as file:
        file.write(np.ones((1, 3), np.float32))
    assert link.is_symlink()
    assert np.load(real).shape == (1, 3)


def test_a_full_disk_is_named():
    def fill():
        with NpyWriter(Path("/dev/full"), 1) as file:
            file.write(np.ones((1, 100_000), np.float32))

    with pytest.raises(ConfigurationError, match="/dev/full cannot be written: No space left"):
        fill()
