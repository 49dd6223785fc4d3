"""Decoders, and attention through windows: packed in every runtime, with the vectors of sentence-transformers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from munjang.encoder.contract import Prompting
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.encoder.tokenizer import TextTokenizer
from munjang.encoder.torch_runtime.forward import FlatForward
from munjang.encoder.torch_runtime.load import load_model, plain_rules
from munjang.encoder.torch_runtime.pipeline import Attention, find_packing, packed_masks
from munjang.testing_models import tiny_model

GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
MODELS = {
    "qwen3": GROUPED,
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 16},
    "exaone4": GROUPED | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    "gemma3_text": GROUPED
    | {
        "sliding_window": 16,
        "query_pre_attn_scalar": 8,
        "use_bidirectional_attention": True,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2},
}
POOLING = {"gemma3_text": "mean", "modernbert": "cls"}
TEXTS = [
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "각",
    "띄어쓰기가 있든 없든 " * 40,
    "ㅋㅋ 🥁 [PAD] drum",
    "비가 온다 " * 9,
    "a",
    "[MASK]남자가 [PAD][PAD] 바이올린을 켠다.",
] * 2


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


def made(folder, name, **options):
    pooling = POOLING.get(name, "lasttoken")
    side = "right" if name in POOLING else "left"
    architecture = options.pop("architecture", name)
    how = {"max_tokens": 128, "heads": 4, "pooling": pooling, "padding_side": side} | options
    return tiny_model(folder, architecture=architecture, config=MODELS[name], **how)


def reference(folder, **options):
    """By sentence-transformers, text by text: what is beside a text is no part of its vector."""
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, batch_size=1, **options)


@pytest.mark.parametrize("name", MODELS)
def test_on_a_cpu_they_share_rows_and_have_the_vectors_of_sentence_transformers(tmp_path, name):
    folder = made(tmp_path / "m", name)
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))

    assert encoder.packs
    for prompt in ("", "query"):
        expected = reference(folder, prompt_name=prompt or None)
        how = prompting(encoder.info, prompt_name=prompt)
        assert cosines(encode(encoder, TEXTS, how), expected).min() >= 0.9999
        alone = np.concatenate([encode(encoder, [text], how) for text in TEXTS])
        assert cosines(alone, expected).min() >= 0.9999


@pytest.mark.parametrize("name", MODELS)
def test_in_one_row_of_all_texts_by_attention_of_variable_length(tmp_path, name):
    folder = made(tmp_path / "m", name)
    model = load_model(folder, torch.device("cpu"), torch.float32)
    rules = find_packing(list(model), plain_rules(model), Attention.VARLEN)

    assert rules.packs
    found = FlatForward(list(model), rules, torch.device("cpu"))(TextTokenizer(rules)(TEXTS, Prompting()))
    assert cosines(found, reference(folder)).min() >= 0.9999


@pytest.mark.parametrize("name", ["qwen3", "gemma3_text"])
def test_in_torch_a_text_is_laid_at_the_left_of_its_row(tmp_path, name):
    folder = made(tmp_path / "m", name, include_prompt=False)
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert encoder.runtime == "torch"
    for prompt in ("", "query"):
        expected = reference(folder, prompt_name=prompt or None)
        how = prompting(encoder.info, prompt_name=prompt)
        assert cosines(encode(encoder, TEXTS, how), expected).min() >= 0.9999


def test_scores_that_a_kernel_of_variable_length_does_not_know_are_not_packed_by_it(tmp_path):
    config = GROUPED | {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 1.0}
    folder = tiny_model(tmp_path / "m", architecture="gemma2", heads=4, config=config, padding_side="left")
    model = load_model(folder, torch.device("cpu"), torch.float32)

    assert not find_packing(list(model), plain_rules(model), Attention.VARLEN).packs
    assert find_packing(list(model), plain_rules(model), Attention.ROWS).packs


def test_masks_are_changed_on_the_thread_that_packs_alone(tmp_path):
    model = load_model(made(tmp_path / "m", "qwen3"), torch.device("cpu"), torch.float32)[0].model
    ids = torch.arange(5, 13)[None]
    found = []

    def elsewhere():
        with torch.inference_mode():
            found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state)

    with packed_masks(torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2]])):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with torch.inference_mode():
            apart = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    elsewhere()

    assert torch.equal(found[0], found[1])
    assert not torch.allclose(apart, found[1])
