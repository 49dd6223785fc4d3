"""Pickled weights become safetensors in a process of its own, and nothing in a pickle ever runs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel
from munjang.publishing import publish_model
from munjang.publishing.pickles import convert_pickled
from munjang.publishing.staging import staged


class Gadget:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def pickled(folder, content=None, name="pytorch_model.bin", **options):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights if content is None else content | weights, folder / name, **options)
    return weights


def convert(folder, **options):
    """The tensors that the staged copy gets."""
    with staged(folder) as stage:
        convert_pickled(folder, stage.folder, **options)
        return {name: tensor for path in stage.folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_every_tensor_arrives_as_it_was(folder, zipped, capfd):
    weights = pickled(folder, _use_new_zipfile_serialization=zipped)
    found = convert(folder)
    assert capfd.readouterr() == ("", "")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_a_folder_of_pickled_weights_is_published_and_left_as_it_was(registry, folder):
    pickled(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    told = []
    manifest = publish_model(registry, folder, tell=told.append)
    assert "model.safetensors" in {entry.path for entry in manifest.files}
    assert any("converting pytorch_model.bin to safetensors" in line for line in told)
    assert not any("left out" in line for line in told)
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_a_gadget_is_refused_by_name_and_does_not_run(registry, folder, tmp_path, zipped):
    mark = tmp_path / "ran"
    pickled(folder, {"gadget": Gadget(mark)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ForbiddenFile, match=r"pytorch_model\.bin is a pickle that holds \S*system.*nothing of it was run"
    ):
        publish_model(registry, folder)
    assert not mark.exists()
    assert registry.versions() == []
    torch.load(folder / "pytorch_model.bin", weights_only=False)  # so the gadget works where it is let
    assert mark.exists()


def test_a_bare_pickle_in_the_place_of_weights_does_not_run(folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Gadget(mark)))
    with pytest.raises((ForbiddenFile, ModelLoadFailed), match=r"pytorch_model\.bin"):
        convert(folder)
    assert not mark.exists()


def test_tensors_that_share_memory_are_written_each(folder):
    weights = load_file(folder / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    pickled(folder, {"lm_head.weight": table, "part": table[:3]})
    path = folder / "pytorch_model.bin"
    torch.save(torch.load(path) | {"tied": table, "embeddings.word_embeddings.weight": table}, path)
    found = convert(folder)
    assert torch.equal(found["tied"], table)
    assert torch.equal(found["lm_head.weight"], table)
    assert torch.equal(found["part"], table[:3])


def test_parts_keep_their_list(registry, folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for part, held in parts.items():
        torch.save({name: weights[name] for name in held}, folder / part)
    places = {name: part for part, held in parts.items() for name in held}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    files = {entry.path for entry in publish_model(registry, folder).files}
    assert {"model-00001-of-00002.safetensors", "model.safetensors.index.json"} <= files
    assert "pytorch_model.bin.index.json" not in files


def test_weights_of_a_module_in_a_folder_of_its_own_are_converted(folder):
    (folder / "2_Dense").mkdir()
    torch.save({"linear.weight": torch.eye(4)}, folder / "2_Dense" / "pytorch_model.bin")
    with staged(folder) as stage:
        assert convert_pickled(folder, stage.folder) == ["2_Dense/pytorch_model.bin"]
        assert torch.equal(load_file(stage.folder / "2_Dense" / "model.safetensors")["linear.weight"], torch.eye(4))


def test_safetensors_win_and_the_pickle_is_not_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    with staged(folder) as stage:
        assert convert_pickled(folder, stage.folder) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, r"'epoch' is a int \(a checkpoint of a training\?\)"),
        ({"sparse": torch.eye(3).to_sparse()}, "sparse"),
    ],
)
def test_what_is_not_the_weights_of_a_model_is_named(folder, content, words):
    pickled(folder, content)
    with pytest.raises(UnsupportedModel, match=words):
        convert(folder)


def test_a_damaged_file_is_named_with_the_reason(folder):
    pickled(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelLoadFailed, match=r"pytorch_model\.bin cannot be read as weights of PyTorch"):
        convert(folder)


def test_a_conversion_that_takes_too_long_is_stopped(folder):
    pickled(folder)
    with pytest.raises(ModelLoadFailed, match="took more than 0 s and was stopped"):
        convert(folder, seconds=0)


def test_a_pickled_adapter_is_refused_unopened(registry, folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "klue/roberta-base"}')
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Gadget(mark)))
    with pytest.raises(ForbiddenFile, match=r"adapter_model\.bin belongs to an adapter \(LoRA\) and is a pickle"):
        publish_model(registry, folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("deed", "ends"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("import os; os.system('true')", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("Path('written').write_text('x')", "PermissionError"),
        ("bytearray(1 << 30)", "MemoryError"),
        ("Path('read').read_text()", ""),
    ],
)
def test_the_process_is_confined(tmp_path, deed, ends):
    (tmp_path / "read").write_text("x")
    code = f"from pathlib import Path; from munjang.publishing.pickles import confine; confine(1 << 29); {deed}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == (not ends), done.stderr
    assert ends in done.stderr
    assert not (tmp_path / "written").exists()
