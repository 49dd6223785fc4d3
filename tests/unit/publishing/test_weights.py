"""A parameter that vectors depend on is in the files, or the folder is refused by its name."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file

from munjang.errors import ForbiddenFile, ModelLoadFailed
from munjang.publishing import publish_model
from munjang.publishing.weights import check_weights


def rename(folder, change):
    weights = load_file(folder / "model.safetensors")
    kept = {changed: tensor for name, tensor in weights.items() if (changed := change(name))}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_are_all_there_pass(folder):
    check_weights(folder)


def test_weights_under_other_names_are_refused(registry, folder):
    rename(folder, lambda name: f"student.{name}")
    with pytest.raises(ModelLoadFailed, match=r"embeddings\.\S+, .* and \d+ more would be made up.*\(student\.\S+"):
        publish_model(registry, folder)
    assert registry.versions() == []


def test_one_missing_parameter_is_named(folder):
    rename(folder, lambda name: "" if name == "encoder.layer.1.attention.self.query.weight" else name)
    with pytest.raises(ModelLoadFailed, match=r"encoder\.layer\.1\.attention\.self\.query\.weight would be made up"):
        check_weights(folder)


def test_a_head_that_no_vector_depends_on_may_be_missing(folder):
    rename(folder, lambda name: "" if name.startswith("pooler.") else name)
    check_weights(folder)


def test_the_prefix_of_a_head_is_understood(folder):
    rename(folder, lambda name: f"bert.{name}")
    check_weights(folder)


def test_a_folder_without_weights_is_refused_in_words(registry, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelLoadFailed, match=r"no weights.*model\.safetensors"):
        publish_model(registry, folder)


def test_a_missing_part_is_named(registry, folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ForbiddenFile, match=r"index\.json names model-00002-of-00002\.safetensors, which is not"):
        publish_model(registry, folder)
