"""The mapped file of a graph's weights: all can be let go, or all but the tables, and nothing is lost by it."""

from __future__ import annotations

import mmap

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from munjang.encoder.openvino_runtime.export import MappedWeights
from tests.smaps import needs_smaps, resident

ROW = mmap.PAGESIZE // 4  # float32 in a page

pytestmark = needs_smaps


def pages(file):
    """Of the file that are in memory."""
    return resident(file) // mmap.PAGESIZE


@pytest.fixture
def file(tmp_path):
    """Eight pages of numbers."""
    path = tmp_path / "weights.bin"
    path.write_bytes(np.arange(8 * ROW, dtype=np.float32).tobytes())
    return path


def graph_of(mapped, *tables):
    """A graph that looks tokens up in these pages of the file, each a table of so many rows of one page."""
    tokens = ops.parameter([-1], np.int64)
    found = []
    for first, rows in tables:
        values = np.asarray(mapped.tensor.data[4 * first * ROW : 4 * (first + rows) * ROW]).view(np.float32)
        table = ops.constant(openvino.Tensor(values.reshape(rows, ROW), shared_memory=True), shared_memory=True)
        found.append(ops.result(ops.gather(table, tokens, ops.constant(0))))
    return openvino.Model(found, [tokens])


def read(mapped):
    return np.array(mapped.tensor.data).view(np.float32)


def test_all_is_let_go_of_a_graph_without_tables_and_read_again(file):
    mapped = MappedWeights(file)
    before = read(mapped)
    assert pages(file) == 8
    mapped.let_go()
    assert pages(file) == 0
    assert (read(mapped) == before).all()


@pytest.mark.parametrize("tables", [[(0, 3)], [(5, 3)], [(2, 2), (6, 1)], [(1, 2), (3, 1)], [(0, 8)]])
def test_tables_stay_wherever_they_lie_until_they_are_let_go_too(file, tables):
    mapped = MappedWeights(file)
    mapped.keep_tables(graph_of(mapped, *tables))
    before = read(mapped)
    mapped.let_go()
    assert pages(file) == sum(rows for _, rows in tables)

    mapped.let_go(tables=True)
    assert pages(file) == 0
    assert (read(mapped) == before).all()


def test_a_table_that_lies_elsewhere_keeps_nothing_of_the_file(file, tmp_path):
    (tmp_path / "other.bin").write_bytes(file.read_bytes())
    mapped, other = MappedWeights(file), MappedWeights(tmp_path / "other.bin")
    mapped.keep_tables(graph_of(other, (0, 8)))
    read(mapped)
    mapped.let_go()
    assert pages(file) == 0
