from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from torch import nn
from transformers import AutoModel, ModernBertConfig, Qwen3Config

from munjang.errors import ConfigurationError
from munjang_trainer.model.base import add_lora, linear_layers
from munjang_trainer.model.random_model import make_random_model
from munjang_trainer.model.transform import centre, merge
from munjang_trainer.recipe.schema import LoraConfig, RandomModelConfig

TEXTS = [f"{who}가 {what}." for who in ("남자", "여자", "아이", "고양이") for what in ("잔다", "달린다", "웃는다")]


@pytest.fixture
def model(tmp_path):
    return make_random_model(RandomModelConfig(), TEXTS, 32, tmp_path / "model", 1)


def test_a_centred_model_has_a_wider_range_of_cosines_and_the_mean_moves_by_the_share(model):
    before = model.encode(TEXTS)
    centre(model, TEXTS, 1.0, 100, 42)
    after = model.encode(TEXTS)
    np.testing.assert_allclose(after, before - before.mean(0), atol=1e-4)
    assert np.corrcoef(after).mean() < np.corrcoef(before).mean()


def test_a_model_without_a_last_bias_is_not_centred(model):
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.bias = None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigurationError, match="cannot be centred"):
        centre(model, TEXTS, 0.5, 100, 42)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_merging_averages_the_weights(model, tmp_path):
    other = make_random_model(RandomModelConfig(), TEXTS, 32, tmp_path / "other", 2)
    expected = {name: 0.7 * value + 0.3 * other.state_dict()[name] for name, value in model.state_dict().items()}
    merge(model, other, 0.3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_models_of_another_form_are_not_merged(model, tmp_path):
    other = make_random_model(RandomModelConfig(layers=1), TEXTS, 32, tmp_path / "other", 2)
    with pytest.raises(ConfigurationError, match="same form"):
        merge(model, other, 0.3)


def test_low_rank_adapters_find_the_linear_layers_of_any_architecture(model):
    transformer = model.transformers_model
    every = linear_layers(transformer, LoraConfig())
    assert every
    assert not any("pooler" in name for name in every)
    last = linear_layers(transformer, LoraConfig(last_layers=1))
    assert last == [name for name in every if ".1." in name]
    assert {name.rpartition(".")[2] for name in linear_layers(transformer, LoraConfig(modules=("query",)))} == {"query"}
    with pytest.raises(ConfigurationError, match="no linear layers that nothing names"):
        add_lora(model, LoraConfig(modules=("nothing",)))


SMALL = {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft still asks it
@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=8), "layers.1.self_attn.q_proj"),
        (ModernBertConfig(**SMALL, cls_token_id=1, sep_token_id=2), "layers.1.attn.Wqkv"),
    ],
    ids=["qwen3", "modernbert"],
)
def test_decoders_and_new_encoders_have_adapters_too(config, layer):
    transformer = AutoModel.from_config(config)
    names = linear_layers(transformer, LoraConfig(last_layers=1))
    assert layer in names
    assert all(name.startswith("layers.1.") for name in names)
    adapted = get_peft_model(transformer, PeftLoraConfig(r=2, target_modules=names))
    trained = {name.split(".lora_")[0] for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert {name.removeprefix("base_model.model.") for name in trained} == set(names)
