"""An adapter is published with its base merged in, or refused in words."""

from __future__ import annotations

import json
import shutil

import numpy as np
import peft
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import ConfigurationError, UnsupportedModel
from munjang.publishing import Options, adapter, find_model, publish_model, publish_source

TEXTS = ["남자가 음악을 연주하고 있다.", "각"]


@pytest.fixture(scope="session")
def pristine_adapter(pristine, tmp_path_factory):
    """An adapter of random weights on the tiny model, saved by sentence-transformers, and its vectors."""
    transformer = Transformer(str(pristine.with_name("model-bare")))
    model = SentenceTransformer(modules=[transformer, Pooling(32, "cls")], device="cpu")
    model.add_adapter(
        peft.LoraConfig(task_type=peft.TaskType.FEATURE_EXTRACTION, r=4, target_modules=["query", "value"])
    )
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    model.save_pretrained(str(folder), create_model_card=False)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "ours/base"}))
    return folder, model.eval().encode(TEXTS)


@pytest.fixture
def adapted(pristine_adapter, tmp_path):
    folder, vectors = pristine_adapter
    return shutil.copytree(folder, tmp_path / "adapter"), vectors


def vectors_of(registry, version):
    return encode(load_encoder(registry.local_folder(version), LoadOptions(device="cpu", runtime="torch")), TEXTS)


def test_it_is_merged_into_its_base_from_the_hubs_cache(registry, hub, plain, adapted):
    folder, vectors = adapted
    hub("ours/base", plain)
    told = []
    manifest = publish_model(registry, folder, tell=told.append)
    assert "merging the adapter into its base, ours/base" in told
    np.testing.assert_allclose(vectors_of(registry, manifest.version), vectors, atol=1e-5)
    assert not any("adapter" in entry.path for entry in manifest.files)
    assert (folder / "adapter_model.safetensors").exists()


def test_a_bare_adapter_asks_for_the_pooling_and_takes_tokenizer_and_base_from_a_folder(registry, folder, adapted):
    bare, vectors = adapted
    for path in [path for path in bare.iterdir() if not path.name.startswith("adapter_")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = bare / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(folder)}))
    with pytest.raises(UnsupportedModel, match="has no pooling"):
        publish_model(registry, bare)
    manifest = publish_model(registry, bare, options=Options(pooling="cls"))
    np.testing.assert_allclose(vectors_of(registry, manifest.version), vectors, atol=1e-5)


def test_an_adapter_of_the_hub_is_published_by_its_name(registry, hub, plain, adapted):
    hub("ours/base", plain)
    hub("ours/adapter", adapted[0])
    assert publish_source(registry, find_model("ours/adapter")).manifest.base_model == "ours/adapter"


def test_a_base_out_of_reach_is_named(registry, hub, adapted):
    with pytest.raises(
        ConfigurationError, match=r"adapter_config\.json .* of ours/base, which is not to be had: .*cache"
    ):
        publish_model(registry, adapted[0])


def test_without_peft_the_extra_is_named(registry, hub, plain, adapted, monkeypatch):
    hub("ours/base", plain)
    monkeypatch.setattr(adapter, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"merging it takes peft: pip install 'munjang\[trainer\]'"):
        publish_model(registry, adapted[0])


def test_a_base_that_the_adapter_does_not_fit_is_refused(registry, hub, plain, adapted):
    folder, _ = adapted
    hub("ours/base", plain)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": 8}))
    with pytest.raises(UnsupportedModel, match=r"adapter_config\.json: the adapter cannot be merged into its base"):
        publish_model(registry, folder)


def test_an_adapter_without_its_weights_or_base_is_refused(registry, hub, adapted):
    folder, _ = adapted
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match=r"its weights, adapter_model\.safetensors, are not there"):
        publish_model(registry, folder)
    (folder / "adapter_model.safetensors").write_bytes(b"")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="does not name the model that the adapter was trained on"):
        publish_model(registry, folder)
