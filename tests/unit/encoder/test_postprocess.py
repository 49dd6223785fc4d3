"""What happens to vectors after the forward: cut, normalise, quantise; and what is refused before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sentence_transformers.util import truncate_embeddings

from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import OutputOptions, finish, normalized, packed
from munjang.errors import InvalidOption, UnsupportedDimensions, UnsupportedPrecision
from munjang.vectors import Precision, unpack

INFO = ModelInfo(dimensions=8, max_tokens=128, int8_scale=1 / 127)
MATRICES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    elements=st.floats(-1000, 1000, width=32).filter(lambda value: value == 0 or abs(value) > 1e-6),
)


@pytest.fixture
def raw() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((5, 8)).astype(np.float32) * 10


@given(MATRICES)
def test_normalised_rows_have_length_one_and_their_direction(rows: np.ndarray) -> None:
    result = normalized(rows)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert result.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), lengths > 0, atol=1e-5)
    np.testing.assert_allclose(result * lengths[:, None], rows, rtol=1e-5)


def test_rows_of_zeros_stay_zeros_and_the_input_is_left_as_it_was() -> None:
    rows = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)
    np.testing.assert_array_equal(normalized(rows), np.array([[0, 0], [0.6, 0.8]], np.float32))
    np.testing.assert_array_equal(rows, [[0, 0], [3, 4]])


def test_a_row_that_is_not_finite_does_not_touch_the_others() -> None:
    result = normalized(np.array([[np.nan, 1.0], [3.0, 4.0]], np.float32))
    assert np.isnan(result[0]).any()
    np.testing.assert_array_equal(result[1], np.array([0.6, 0.8], np.float32))


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_fewer_dimensions_are_cut_and_normalised_as_sentence_transformers_does(
    raw: np.ndarray, dimensions: int
) -> None:
    ours = finish(raw, OutputOptions(dimensions=dimensions))
    theirs = torch.nn.functional.normalize(truncate_embeddings(torch.from_numpy(raw), dimensions))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


def test_vectors_that_shall_not_be_normalised_are_cut_only(raw: np.ndarray) -> None:
    np.testing.assert_array_equal(finish(raw, OutputOptions(dimensions=3, normalize=False)), raw[:, :3])


def test_an_int8_vector_of_fewer_dimensions_is_the_beginning_of_the_full_one(raw: np.ndarray) -> None:
    whole = unpack(packed(raw, OutputOptions(precision=Precision.INT8), INFO), 5, 8, Precision.INT8)
    short = unpack(packed(raw, OutputOptions(dimensions=3, precision=Precision.INT8), INFO), 5, 3, Precision.INT8)
    np.testing.assert_array_equal(short, whole[:, :3])


def test_ubinary_is_what_sentence_transformers_gives(raw: np.ndarray) -> None:
    from sentence_transformers.util import quantize_embeddings  # noqa: PLC0415 - its oracle, here only

    ours = unpack(packed(raw, OutputOptions(precision=Precision.UBINARY), INFO), 5, 8, Precision.UBINARY)
    np.testing.assert_array_equal(ours, quantize_embeddings(normalized(raw), "ubinary"))


@pytest.mark.parametrize("precision", list(Precision))
def test_every_precision_of_a_calibrated_model_is_accepted(precision: Precision) -> None:
    OutputOptions(dimensions=4, precision=precision).check(INFO)


@pytest.mark.parametrize("dimensions", [9, -1])
def test_dimensions_that_the_model_does_not_have_are_refused(dimensions: int) -> None:
    with pytest.raises(UnsupportedDimensions, match="the model has 8") as caught:
        OutputOptions(dimensions=dimensions).check(INFO)
    assert caught.value.field == "options.dimensions"


def test_int8_without_a_stored_calibration_is_refused() -> None:
    with pytest.raises(UnsupportedPrecision, match="calibration") as caught:
        OutputOptions(precision=Precision.INT8).check(ModelInfo(dimensions=8, max_tokens=128))
    assert caught.value.field == "options.precision"


def test_int8_of_vectors_that_are_not_normalised_is_refused() -> None:
    with pytest.raises(InvalidOption, match="normalised") as caught:
        OutputOptions(normalize=False, precision=Precision.INT8).check(INFO)
    assert caught.value.field == "options.normalize"
