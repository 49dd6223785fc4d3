"""Several texts in one row give the vectors of each alone, in every runtime; what cannot be packed is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from munjang.encoder.contract import Prompting
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.tokenizer import TextTokenizer
from munjang.encoder.torch_runtime.forward import FlatForward
from munjang.encoder.torch_runtime.load import load_model, plain_rules
from munjang.encoder.torch_runtime.pipeline import Attention, find_packing
from munjang.testing_models import tiny_model

PACKED = ("bert", "roberta", "electra", "distilbert")
TEXTS = [
    "남자가 드럼을 쳤다.",
    "각",
    "비가 온다",
    "띄어쓰기가 있든 없든 " * 9,
    "ㅋㅋ drum",
    "밀짚모자를 쓴 남자가 웃는다.",
] * 3


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


def packs(encoder):
    """Three texts of five tokens in a row of sixteen, and not in three of eight."""
    return encoder.computed([5, 5, 5]) < 3 * 8


def reference(folder, **options):
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, **options)


def loaded(folder):
    model = load_model(folder, torch.device("cpu"), torch.float32)
    return list(model), plain_rules(model)


def flat(folder):
    modules, rules = loaded(folder)
    rules = find_packing(modules, rules, Attention.VARLEN)
    assert rules.packs
    return FlatForward(modules, rules, torch.device("cpu"))(TextTokenizer(rules)(TEXTS, Prompting()))


@pytest.mark.parametrize("architecture", PACKED)
def test_rows_that_texts_share_give_each_its_own_vector(tmp_path, architecture):
    folder = tiny_model(tmp_path / "m", architecture=architecture)
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))

    assert packs(encoder)
    assert cosines(encode(encoder, TEXTS), reference(folder)).min() >= 0.9999


@pytest.mark.parametrize("architecture", PACKED)
def test_one_row_of_all_texts_gives_each_its_own_vector(tmp_path, architecture):
    folder = tiny_model(tmp_path / "m", architecture=architecture)

    assert cosines(flat(folder), reference(folder)).min() >= 0.9999


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "weightedmean", "lasttoken"])
def test_every_pooling_reads_its_own_text_alone(tmp_path, pooling):
    folder = tiny_model(tmp_path / "m", pooling=pooling, normalize=True)
    expected = reference(folder)
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))

    assert packs(encoder)
    assert cosines(encode(encoder, TEXTS), expected).min() >= 0.9999
    assert cosines(flat(folder), expected).min() >= 0.9999


def test_an_architecture_that_cannot_be_packed_is_served_one_text_a_row(tmp_path):
    folder = tiny_model(tmp_path / "m", architecture="deberta-v2")
    encoder = load_encoder(folder, LoadOptions(device="cpu"))

    assert not packs(encoder)
    assert cosines(encode(encoder, TEXTS), reference(folder)).min() >= 0.9999


def test_roberta_counts_its_positions_from_behind_the_padding_and_bert_from_zero(tmp_path):
    modules, rules = loaded(tiny_model(tmp_path / "r", architecture="roberta"))
    assert find_packing(modules, rules, Attention.ROWS).first_position == modules[0].model.config.pad_token_id + 1

    modules, rules = loaded(tiny_model(tmp_path / "b"))
    assert find_packing(modules, rules, Attention.ROWS).first_position == 0


def test_a_model_whose_tokens_look_past_their_text_is_not_packed(tmp_path, monkeypatch):
    modules, rules = loaded(tiny_model(tmp_path / "m"))
    usual = modules[0].model.forward
    monkeypatch.setattr(
        modules[0].model,
        "forward",
        lambda attention_mask, **given: usual(attention_mask=torch.zeros(1, 1, 1, 1), **given),
    )

    assert not find_packing(modules, rules, Attention.ROWS).packs


def test_trying_leaves_the_model_as_it_was(tmp_path):
    modules, rules = loaded(tiny_model(tmp_path / "m"))
    find_packing(modules, rules, Attention.VARLEN)

    assert modules[0].model.config._attn_implementation == "sdpa"


def test_what_is_computed_is_less_than_one_text_a_row_would_take(tmp_path):
    encoder = load_encoder(tiny_model(tmp_path / "m"), LoadOptions(device="cpu"))
    lengths = [5, 6, 7, 9, 30, 31, 33, 60] * 20

    assert packs(encoder)
    assert encoder.computed(lengths) <= 1.05 * sum(lengths)
