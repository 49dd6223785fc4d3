"""Another first model than the starter, by MUNJANG_MODEL."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from munjang.errors import ConfigurationError, UnsupportedModel
from munjang.registry import Registry
from munjang.testing_models import tiny_model
from munjang_trainer.starter.publish import publish_named


class Silent:
    """A reporter that nobody reads."""

    def step(self, what, total=None):
        return lambda _: None

    def note(self, what):
        pass


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("named") / "우리-모델", prompts={"query": "질문: "})


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / pristine.name)


@pytest.fixture
def registry(tmp_path):
    return Registry(str(tmp_path / "registry"))


def test_a_folder_is_published_and_promoted_where_there_is_no_stable_yet(registry, folder):
    outcome = publish_named(registry, Silent(), str(folder))
    assert (outcome.version, outcome.new, outcome.alias) == (1, True, "stable")
    manifest = registry.manifest(registry.alias("stable").version)
    assert manifest.base_model == "우리-모델"
    assert manifest.prompts == {"query": "질문: ", "document": ""}


def test_the_published_model_gives_the_vectors_of_the_folder(registry, folder):
    publish_named(registry, Silent(), str(folder))
    texts = ["남자가 음악을 연주하고 있다.", "각"]
    before = SentenceTransformer(str(folder), device="cpu").encode(texts)
    after = SentenceTransformer(str(registry.local_folder(1)), device="cpu").encode(texts)
    assert (before == after).all()


def test_a_folder_of_another_kind_is_not_made_dense(registry, folder):
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "CrossEncoder"}))
    with pytest.raises(UnsupportedModel, match="cross-encoder"):
        publish_named(registry, Silent(), str(folder))


def test_the_same_model_is_not_published_twice(registry, folder):
    publish_named(registry, Silent(), str(folder))
    again = publish_named(registry, Silent(), str(folder))
    assert (again.version, again.new, again.alias) == (1, False, "")
    assert publish_named(registry, Silent(), str(folder), force=True).version == 2


def test_pickled_weights_become_safetensors(registry, folder):
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    publish_named(registry, Silent(), str(folder))
    names = {entry.path for entry in registry.manifest(1).files}
    assert "model.safetensors" in names
    assert not any(name.endswith(".bin") for name in names)


def test_a_plain_transformer_is_not_given_a_pooling_by_a_guess(registry, pristine):
    plain = str(pristine.with_name(pristine.name + "-bare"))
    with pytest.raises(UnsupportedModel, match=f"munjang versions publish {plain} --pooling"):
        publish_named(registry, Silent(), plain)
    assert registry.versions() == []


def test_a_folder_that_asks_for_code_is_refused_before_it_is_loaded(registry, folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "antigravity.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModel, match="antigravity"):
        publish_named(registry, Silent(), str(folder))
    assert registry.versions() == []


def test_a_name_that_is_nowhere_is_refused_with_the_reason(registry):
    with pytest.raises(ConfigurationError, match=r"not in the hub's cache .*offline mode"):
        publish_named(registry, Silent(), "nobody/no-such-model")


def test_a_folder_that_is_no_model_is_refused_with_the_reason(registry, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsupportedModel, match=r"empty is no model folder: .*modules\.json.* nor config\.json"):
        publish_named(registry, Silent(), str(tmp_path / "empty"))
