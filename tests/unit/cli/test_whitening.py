"""The second model of the drill: the first one and a layer, in another space."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.cli.whitening import add_whitening, whitening
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.korean import SENTENCES
from munjang.publishing.safety import check_folder
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("whiten") / "model")


def vectors_of(folder):
    encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", runtime="torch"))
    try:
        return normalized(encode(encoder, SENTENCES))
    finally:
        encoder.close()


def test_the_new_model_gives_the_old_one_s_vectors_through_the_layer(folder, tmp_path):
    old = vectors_of(folder)
    add_whitening(folder, tmp_path / "new", old)
    check_folder(tmp_path / "new")
    new = vectors_of(tmp_path / "new")
    weights, bias = whitening(old)
    np.testing.assert_allclose(new, normalized(old @ weights.T + bias), atol=1e-5)
    assert new.shape == old.shape


def test_its_vectors_are_of_another_space(folder, tmp_path):
    old = vectors_of(folder)
    add_whitening(folder, tmp_path / "new", old)
    new = vectors_of(tmp_path / "new")
    own = np.einsum("ij,ij->i", old, new)
    assert np.abs(own).mean() < 0.5


def test_whitened_vectors_are_centred_and_vary_more_alike(folder):
    old = vectors_of(folder)
    weights, bias = whitening(old)
    new = old @ weights.T + bias
    np.testing.assert_allclose(new.mean(axis=0), 0, atol=1e-5)

    def spread(vectors):
        values = np.linalg.eigvalsh(np.cov(vectors, rowvar=False))
        return values[-1] / values.sum()

    assert spread(new) < spread(old)
