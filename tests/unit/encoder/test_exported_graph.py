"""What is done to a traced graph reaches the attention of the architectures that it is meant for."""

from __future__ import annotations

import pytest

from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.openvino_runtime import export as exports
from munjang.encoder.openvino_runtime.passes import attentions, kind
from munjang.testing_models import tiny_model


@pytest.fixture(scope="module", params=["bert", "roberta", "electra", "distilbert"])
def export(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    folder = tiny_model(home / "m", architecture=request.param)
    load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", export=home / "export"))
    return exports.read(home / "export")  # its graph reads the file that it holds


def test_no_scale_is_left(export):
    assert [float(node.input_value(4).get_node().data) for node in attentions(export.graph)] == [1.0, 1.0]


def test_one_product_is_before_each_attention(export):
    layers = [
        [node.input_value(place).get_node().input_value(0) for place in range(3)] for node in attentions(export.graph)
    ]
    assert [[kind(source.get_node()) for source in layer] for layer in layers] == [["Split"] * 3] * 2


def test_no_shape_is_computed(export):
    assert "ShapeOf" not in map(kind, export.graph.get_ordered_ops())
