"""A lone text runs in a row as wide as the last, where that costs less than another width would."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder import export as exports
from munjang.encoder.contract import Tokens
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.pausing import PausingForward
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "exports" / "tiny"
    folder = tiny_model(tmp_path_factory.mktemp("model") / "tiny", max_tokens=128)
    load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", export=path))
    return exports.read(path)


@pytest.fixture
def forward(export):
    return PausingForward(export, compute_type="float32", threads=1)


def of(length):
    return Tokens(tuple(5 + step % 90 for step in range(length)))


def test_a_little_shorter_text_keeps_the_row_and_has_the_same_vector(export, forward):
    alone = forward([of(9)])
    forward([of(20)])
    kept = forward([of(9)])

    assert forward.computed([13]) == 20, "it ran in a row of its own width"
    assert np.allclose(kept, alone, atol=1e-5)


@pytest.mark.parametrize(("length", "width"), [(21, 24), (20, 20), (4, 20), (3, 4)])
def test_a_longer_or_much_shorter_one_has_a_row_of_its_own(forward, length, width):
    forward([of(20)])

    assert forward.computed([length]) == width


def test_what_ran_in_several_rows_is_not_kept(forward):
    forward([of(70), of(70)])

    assert forward.computed([60]) == 60
