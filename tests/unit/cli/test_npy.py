import numpy as np
import pytest

from munjang.cli.npy import NpyWriter
from munjang.errors import ConfigurationError


def test_rows_that_come_in_pieces_are_one_matrix(tmp_path):
    path = tmp_path / "벡터.npy"
    rows = np.arange(7000 * 3, dtype=np.float32).reshape(-1, 3)
    with NpyWriter(path) as file:
        for start in range(0, 7000, 999):
            file.write(rows[start : start + 999])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ["벡터.npy"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "벡터.npy"
    path.write_bytes(b"old")

    def fail():
        with NpyWriter(path) as file:
            file.write(np.zeros((2, 3), np.float32))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        NpyWriter(tmp_path / "없음" / "벡터.npy")
