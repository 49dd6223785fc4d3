"""What makes a folder a cross-encoder, and what is published of one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from munjang.encoder.load import LoadOptions, load_encoder
from munjang.engine.preflight import probe
from munjang.errors import ModelLoadFailed, ProbeMismatch, UnsupportedModel, WrongKind
from munjang.kinds import ModelKind
from munjang.publishing import Options, publish_model
from munjang.publishing.kind import check_dense, kind_of
from munjang.publishing.safety import check_folder
from munjang.registry import Registry
from munjang.testing_models import tiny_cross_encoder


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def cross(tmp_path):
    return tiny_cross_encoder(tmp_path / "cross")


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert"])
def test_a_classifier_of_one_label_is_a_cross_encoder(tmp_path, architecture, modules):
    folder = tiny_cross_encoder(tmp_path / "m", architecture=architecture, modules=modules)
    assert check_folder(folder) is ModelKind.CROSS_ENCODER


def test_one_whose_configuration_says_no_kind_is_known_by_the_task_of_its_transformer(cross):
    rewrite(cross / "config_sentence_transformers.json", lambda config: config.pop("model_type"))
    assert kind_of(cross) is ModelKind.CROSS_ENCODER


def test_a_dense_folder_is_dense(folder):
    assert check_folder(folder) is ModelKind.DENSE


@pytest.mark.parametrize("modules", [True, False])
def test_a_classifier_of_many_labels_is_refused(tmp_path, modules):
    folder = tiny_cross_encoder(tmp_path / "m", labels=3, modules=modules)
    with pytest.raises(UnsupportedModel, match="BertForSequenceClassification: this is a classifier of 3 labels"):
        check_folder(folder)


def test_a_generative_one_is_refused(cross):
    rewrite(cross / "config.json", lambda config: config.update(architectures=["Qwen2ForCausalLM"]))
    with pytest.raises(UnsupportedModel, match=r"names Qwen2ForCausalLM: this is a generative cross-encoder"):
        check_folder(cross)


def test_one_without_a_head_is_refused(cross):
    rewrite(cross / "config.json", lambda config: config.update(architectures=["BertModel"]))
    with pytest.raises(UnsupportedModel, match=r"names BertModel: this is a cross-encoder without a head"):
        check_folder(cross)


@pytest.mark.parametrize("architecture", ["CLIPModel", "WhisperModel", "Qwen2VLForConditionalGeneration"])
def test_a_model_of_images_or_sounds_is_refused(folder, architecture):
    rewrite(folder / "config.json", lambda config: config.update(architectures=[architecture]))
    with pytest.raises(UnsupportedModel, match=f"names {architecture}: this is a model of images or sounds"):
        check_folder(folder)


def test_training_and_a_first_model_need_a_dense_one(cross, folder):
    check_dense(folder)
    with pytest.raises(UnsupportedModel, match="a dense model is needed here"):
        check_dense(cross)


@pytest.fixture
def registry(tmp_path):
    return Registry(str(tmp_path / "registry"))


def test_a_published_one_records_pairs_with_their_scores(registry, cross):
    manifest = publish_model(registry, cross)
    assert (manifest.kind, manifest.dimensions, manifest.max_tokens) == (ModelKind.CROSS_ENCODER, 1, 64)
    assert manifest == registry.manifest(1)
    pairs = [(item.query, item.text) for item in manifest.probes]
    assert all(query and text for query, text in pairs)
    own = CrossEncoder(str(cross), device="cpu")
    expected = own.predict(pairs, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose([item.array()[0] for item in manifest.probes], expected, atol=1e-4)


def test_what_was_published_passes_its_probes_and_another_model_does_not(registry, cross, tmp_path):
    manifest = publish_model(registry, cross)
    other = tiny_cross_encoder(tmp_path / "other", seed=1)
    same, different = (
        load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", kind=ModelKind.CROSS_ENCODER))
        for folder in (cross, other)
    )
    assert probe(same, manifest, least=0.999) >= 0.999
    with pytest.raises(ProbeMismatch, match=r"the score of '.*is recorded"):
        probe(different, manifest, least=0.9)


def test_each_kind_has_its_own_default_alias(registry, cross, folder):
    dense, scores = publish_model(registry, folder).version, publish_model(registry, cross).version
    registry.promote("stable", dense)
    registry.promote("rerank", scores)
    registry.promote("canary", scores)
    with pytest.raises(WrongKind, match="version 2 is a cross-encoder model, and 'stable' names dense models only"):
        registry.promote("stable", scores)
    with pytest.raises(WrongKind, match="its own default alias is 'stable'"):
        registry.promote("rerank", dense)
    assert {name: record.version for name, record in registry.aliases().items()} == {
        "stable": dense,
        "rerank": scores,
        "canary": scores,
    }


def test_one_without_modules_is_published_as_it_is_and_read_to_the_limit_that_is_named(registry, tmp_path):
    folder = tiny_cross_encoder(tmp_path / "old", modules=False)
    manifest = publish_model(registry, folder, options=Options(max_tokens=32))
    assert (manifest.kind, manifest.max_tokens) == (ModelKind.CROSS_ENCODER, 32)
    assert not any(entry.path == "modules.json" for entry in manifest.files)


@pytest.mark.parametrize("options", [Options(pooling="mean"), Options(prompts={"query": "질문: "})])
def test_what_only_dense_models_have_is_refused(registry, cross, options):
    with pytest.raises(UnsupportedModel, match="is a cross-encoder: leave out --pooling"):
        publish_model(registry, cross, options=options)


def test_a_head_that_is_in_no_file_is_not_made_up(registry, cross):
    weights = load_file(cross / "model.safetensors")
    rest = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
    save_file(rest, cross / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadFailed, match=r"do not hold all of the model: classifier\.(weight|bias)"):
        publish_model(registry, cross)
