"""Packing vectors into bytes and back: what is kept, what is rounded, and how."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from munjang.errors import UnsupportedPrecision
from munjang.vectors import Precision, pack, quantize_int8, row_bytes, unpack

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)


def matrices(limit: float = 2.0**100) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, SHAPES, elements=st.floats(-limit, limit, width=32))


@given(matrices(), st.sampled_from([Precision.FLOAT32, Precision.BFLOAT16, Precision.UBINARY]))
def test_packed_rows_have_the_length_that_row_bytes_says(rows: np.ndarray, precision: Precision) -> None:
    count, dimensions = rows.shape
    assert len(pack(rows, precision)) == count * row_bytes(dimensions, precision)


@given(matrices())
def test_float32_comes_back_bit_by_bit(rows: np.ndarray) -> None:
    back = unpack(pack(rows, Precision.FLOAT32), *rows.shape, Precision.FLOAT32)
    assert back.dtype == np.float32
    assert back.tobytes() == rows.tobytes()


def test_bytes_are_little_endian_row_by_row() -> None:
    rows = np.array([[1.0, 2.0], [-0.5, 0.0]], np.float32)
    assert pack(rows, Precision.FLOAT32) == bytes.fromhex("0000803f 00000040 000000bf 00000000")
    assert pack(rows, Precision.FLOAT16) == bytes.fromhex("003c 0040 00b8 0000")
    assert pack(rows, Precision.BFLOAT16) == bytes.fromhex("803f 0040 00bf 0000")


def test_rows_that_are_a_slice_of_a_larger_matrix_pack_as_a_copy_of_them_does() -> None:
    rows = np.random.default_rng(7).standard_normal((6, 24)).astype(np.float32)
    for precision in Precision:
        assert pack(rows[::2, :10], precision, 0.01) == pack(rows[::2, :10].copy(), precision, 0.01)


@given(matrices(limit=60000))
def test_float16_comes_back_rounded_to_nearest(rows: np.ndarray) -> None:
    back = unpack(pack(rows, Precision.FLOAT16), *rows.shape, Precision.FLOAT16)
    assert back.dtype == np.float16
    np.testing.assert_array_equal(back, torch.from_numpy(rows).to(torch.float16).numpy())


@given(matrices(limit=float(np.finfo(np.float32).max)))
def test_bfloat16_is_rounded_as_torch_rounds_it(rows: np.ndarray) -> None:
    back = unpack(pack(rows, Precision.BFLOAT16), *rows.shape, Precision.BFLOAT16)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, torch.from_numpy(rows).to(torch.bfloat16).float().numpy())


def test_bfloat16_rounds_ties_to_even() -> None:
    ties = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32).reshape(1, 2)
    assert pack(ties, Precision.BFLOAT16) == np.array([0x3F80, 0x3F82], "<u2").tobytes()


@given(matrices(limit=1.0), st.floats(0.001, 0.1))
def test_int8_comes_back_within_half_a_step_where_the_scale_reaches(rows: np.ndarray, scale: float) -> None:
    steps = unpack(pack(rows, Precision.INT8, scale), *rows.shape, Precision.INT8)
    assert steps.dtype == np.int8
    within = np.abs(rows) <= 127 * scale
    assert np.all(np.abs(steps * scale - rows)[within] <= scale / 2 * 1.001)


def test_int8_clips_to_127_on_both_sides() -> None:
    steps = quantize_int8(np.array([[-9.0, 9.0, 0.0]], np.float32), scale=0.01)
    assert steps.tolist() == [[-127, 127, 0]]


@given(st.integers(1, 8))
def test_int8_of_a_row_does_not_depend_on_its_company(others: int) -> None:
    rows = np.random.default_rng(others).standard_normal((1 + others, 16)).astype(np.float32)
    assert pack(rows, Precision.INT8, 0.02)[:16] == pack(rows[:1], Precision.INT8, 0.02)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_int8_without_a_calibration_is_refused(scale: float) -> None:
    with pytest.raises(UnsupportedPrecision, match="calibration") as caught:
        pack(np.ones((1, 2), np.float32), Precision.INT8, scale)
    assert caught.value.field == "options.precision"


@given(matrices())
def test_ubinary_is_one_bit_for_each_component_above_zero(rows: np.ndarray) -> None:
    packed = unpack(pack(rows, Precision.UBINARY), *rows.shape, Precision.UBINARY)
    bits = np.unpackbits(packed, axis=-1)
    np.testing.assert_array_equal(bits[:, : rows.shape[1]], rows > 0)
    assert not bits[:, rows.shape[1] :].any(), "a row is padded with zero bits"


def test_ubinary_puts_the_first_component_into_the_highest_bit() -> None:
    assert pack(np.array([[1, -1, 0, -1, -1, -1, -1, -1, 1]], np.float32), Precision.UBINARY) == b"\x80\x80"


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("wrong", [-1, 1])
def test_data_of_another_length_is_refused(precision: Precision, wrong: int) -> None:
    data = bytes(3 * row_bytes(10, precision) + wrong)
    with pytest.raises(ValueError, match=f"3 rows of 10 {precision} components"):
        unpack(data, 3, 10, precision)


@pytest.mark.parametrize("precision", list(Precision))
def test_no_rows_are_no_bytes(precision: Precision) -> None:
    assert pack(np.empty((0, 8), np.float32), precision, 0.1) == b""
    assert len(unpack(b"", 0, 8, precision)) == 0
