"""What may not be published."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel
from munjang.publishing.safety import check_finite, check_folder


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_good_folder_passes(folder):
    check_folder(folder)
    check_finite(folder)


def test_a_folder_without_modules_is_no_model(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"modules\.json"):
        check_folder(tmp_path)


def test_a_model_that_asks_for_its_own_code_is_refused(folder):
    rewrite(folder / "config.json", lambda config: config.update(auto_map={"AutoModel": "modeling_own.OwnModel"}))
    with pytest.raises(UnsupportedModel, match=r"config\.json asks for code"):
        check_folder(folder)


def test_a_module_from_elsewhere_is_refused(folder):
    rewrite(folder / "modules.json", lambda modules: modules[1].update(type="own_pooling.OwnPooling"))
    with pytest.raises(UnsupportedModel, match=r"own_pooling\.OwnPooling"):
        check_folder(folder)


def test_a_module_from_elsewhere_behind_a_router_is_refused(folder):
    (folder / "router_config.json").write_text(json.dumps({"types": {"query_0_Own": "own.Own"}, "structure": {}}))
    with pytest.raises(UnsupportedModel, match=r"own\.Own"):
        check_folder(folder)


def test_a_broken_configuration_is_named(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(UnsupportedModel, match=r"config\.json is not valid JSON"):
        check_folder(folder)


def test_pickled_weights_in_place_of_safetensors_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ForbiddenFile, match="save_pretrained"):
        check_folder(folder)


def test_pickled_weights_beside_safetensors_are_not_in_the_way(folder):
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    check_folder(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_by_name(folder, value, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    weights["encoder.layer.1.output.dense.bias"][3] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelLoadFailed, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        check_finite(folder)


def test_weights_that_are_cut_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelLoadFailed, match="cannot be read as safetensors"):
        check_finite(folder)
