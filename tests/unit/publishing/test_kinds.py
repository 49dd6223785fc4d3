"""Only a whole dense model is published; anything else is refused by what it is, and what to do is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from munjang.errors import ForbiddenFile, ModelLoadFailed, UnsupportedModel
from munjang.publishing import publish_model
from munjang.publishing.describe import describe
from munjang.publishing.safety import check_folder
from munjang.registry import Registry
from munjang.testing_models import tiny_model

CROSS, SPARSE, MULTI = "cross-encoder", "sparse model", "multi-vector model"


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("SparseEncoder", SPARSE),
        ("MultiVectorEncoder", MULTI),
        ("ColBERT", MULTI),
        ("FutureEncoder", "another model"),
    ],
)
def test_a_model_that_says_to_be_of_another_kind(folder, name, what):
    rewrite(folder / "config_sentence_transformers.json", lambda config: config.update(model_type=name))
    with pytest.raises(UnsupportedModel, match=f"names {name}: this is .*{what}.*only dense models"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("sentence_transformers.sparse_encoder.models.SpladePooling", SPARSE),
        ("sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling", SPARSE),
        ("sentence_transformers.sparse_encoder.models.CSRSparsity", SPARSE),
        ("sentence_transformers.cross_encoder.modules.logit_score.LogitScore", CROSS),
        ("sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask", MULTI),
        ("pylate.models.Dense.Dense", MULTI),
    ],
)
def test_a_model_with_a_module_of_another_kind(folder, module, what):
    rewrite(folder / "modules.json", lambda modules: modules[1].update(type=module))
    with pytest.raises(UnsupportedModel, match=rf"modules\.json names .*{what}"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("architecture", "what"),
    [("XLMRobertaForSequenceClassification", CROSS), ("BertForSequenceClassification", CROSS), ("HF_ColBERT", MULTI)],
)
@pytest.mark.parametrize("with_modules", [True, False])
def test_a_model_of_an_architecture_of_another_kind(folder, architecture, what, with_modules):
    rewrite(folder / "config.json", lambda config: config.update(architectures=[architecture]))
    if not with_modules:
        (folder / "modules.json").unlink()
    with pytest.raises(UnsupportedModel, match=rf"config\.json names {architecture}: .*{what}"):
        check_folder(folder)


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "Qwen2ForCausalLM", "T5EncoderModel", None])
def test_an_architecture_that_dense_models_have_too_is_let_pass(folder, architecture):
    rewrite(folder / "config.json", lambda config: config.update(architectures=architecture and [architecture]))
    check_folder(folder)


def test_a_model_of_before_there_were_kinds_is_dense(folder):
    rewrite(folder / "config_sentence_transformers.json", lambda config: config.pop("model_type"))
    check_folder(folder)


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_an_adapter_without_its_base(folder, weights, place):
    (folder / place).mkdir(exist_ok=True)
    (folder / "model.safetensors").rename(folder / place / weights)
    (folder / place / "adapter_config.json").write_text('{"base_model_name_or_path": "klue/roberta-base"}')
    with pytest.raises(UnsupportedModel, match=r"adapter_config.json belongs to an adapter \(LoRA\).*merge_and_unload"):
        check_folder(folder)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "tf_model.h5", "flax_model.msgpack"]
)
def test_weights_of_another_form_in_place_of_safetensors(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ForbiddenFile, match=f"{name} holds pickled weights"):
        check_folder(folder)


def test_a_pickled_adapter_alone(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ForbiddenFile, match=r"adapter_model\.bin belongs to an adapter"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"])
def test_a_file_that_git_lfs_has_not_fetched(folder, name):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
    (folder / name).write_text(pointer)
    with pytest.raises(ForbiddenFile, match=f"{name} is a pointer of git-lfs"):
        check_folder(folder)


def test_a_pointer_that_is_left_out_is_not_in_the_way(folder):
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    check_folder(folder)


def test_a_folder_of_transformers_alone_has_no_pooling(folder):
    (folder / "modules.json").unlink()
    with pytest.raises(UnsupportedModel, match=r"no pooling.*Pooling\("):
        check_folder(folder)


def test_a_folder_whose_modules_make_no_vector_of_a_text_has_no_pooling(folder):
    rewrite(folder / "modules.json", lambda modules: modules.pop(1))
    with pytest.raises(UnsupportedModel, match=r"no pooling.*Pooling\("):
        describe(folder)


def test_a_model_that_makes_zeros_is_refused_by_the_text(folder, monkeypatch):
    monkeypatch.setattr("munjang.encoder.sentence_encoder.SentenceEncoder.forward", zeros)
    with pytest.raises(ModelLoadFailed, match="all zeros, of '안녕하세요"):
        describe(folder)


def zeros(encoder, batch, **_):
    return np.zeros((len(batch), encoder.info.dimensions), np.float32)


def test_the_limits_of_the_files_are_said_and_recorded(folder, tmp_path):
    rewrite(folder / "sentence_bert_config.json", lambda config: config.update(max_seq_length=8192))
    rewrite(folder / "tokenizer_config.json", lambda config: config.update(model_max_length=1e30))
    told = []
    manifest = publish_model(Registry(str(tmp_path / "registry")), folder, tell=told.append)
    assert manifest.max_tokens == 66
    assert manifest.token_limits == {"sentence_bert_config.json max_seq_length": 8192, "positions in the weights": 66}
    assert any("66 tokens are read" in line and "8192" in line for line in told)


def test_a_text_that_fills_the_model_is_among_the_probes(tmp_path):
    folder = tiny_model(tmp_path / "long", max_tokens=5000)
    description = describe(folder)
    tokenizer = SentenceTransformer(str(folder), device="cpu").tokenizer
    assert description.max_tokens == 5000
    assert max(len(tokenizer(probe.text)["input_ids"]) for probe in description.probes) >= 5000


def test_an_empty_default_prompt_is_published(folder):
    rewrite(folder / "config_sentence_transformers.json", lambda config: config.update(default_prompt_name="document"))
    description = describe(folder)
    assert (description.default_prompt, description.prompts) == ("document", {"query": "질문: ", "document": ""})
