"""int8 by OpenVINO: an explicit choice, near the exact vectors, kept like any export."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import convert
from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.postprocess import normalized
from munjang.errors import ConfigurationError
from munjang.korean import SENTENCES
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "exports" / "tiny"


@pytest.fixture(scope="module")
def encoder(folder, export):
    return load_encoder(folder, LoadOptions(device="cpu", compute_type="int8", export=export))


def cosines(left, right):
    return np.vecdot(normalized(left), normalized(right))


def test_vectors_are_near_the_exact_ones_and_not_equal_to_them(folder, encoder):
    exact = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32"))
    found = cosines(encode(encoder, SENTENCES), encode(exact, SENTENCES))

    assert encoder.compute_type == "int8"
    assert 0.95 < found.min() < 0.99999
    assert found.mean() > 0.99


def test_every_product_with_weights_is_in_int8(folder, export, encoder):
    found = exports.read(export.with_name("tiny-int8"))
    products = [node for node in found.graph.get_ops() if node.get_type_name() == "MatMul"]
    rounded = [
        node
        for node in products
        if all(node.input_value(side).get_node().get_type_name() == "FakeQuantize" for side in (0, 1))
    ]

    assert len(rounded) == 8  # four in each of two layers


def test_it_is_kept_beside_the_exact_export_and_not_made_again(folder, export, encoder, monkeypatch):
    def refuse(*_):
        msg = "made again"
        raise AssertionError(msg)

    monkeypatch.setattr(convert, "convert", refuse)
    again = load_encoder(folder, LoadOptions(device="cpu", compute_type="int8", export=export))

    assert {path.name for path in export.parent.iterdir()} == {"tiny", "tiny-int8"}
    assert np.array_equal(encode(again, SENTENCES[:5]), encode(encoder, SENTENCES[:5]))


def test_auto_never_chooses_it(folder):
    assert load_encoder(folder, LoadOptions(device="cpu")).compute_type != "int8"


def test_torch_refuses_it(folder):
    with pytest.raises(ConfigurationError, match="int8 needs a CPU") as caught:
        load_encoder(folder, LoadOptions(device="cpu", runtime="torch", compute_type="int8"))

    assert caught.value.field == "compute_type"
