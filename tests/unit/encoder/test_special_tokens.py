"""Special tokens that are written in a text are read as sentence-transformers reads them, packed or not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from munjang.encoder.contract import Prompting
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.tokenizer import TextTokenizer
from munjang.encoder.torch_runtime.forward import FlatForward
from munjang.encoder.torch_runtime.load import load_model, plain_rules
from munjang.encoder.torch_runtime.pipeline import Attention, find_packing
from munjang.testing_models import SPECIAL, tiny_model

ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "mpnet", "camembert", "electra", "distilbert", "modernbert")
TEXTS = [
    *SPECIAL,
    *(f"{token} 남자가 {token}{token} 바이올린을 켠다. {token}" for token in SPECIAL),
    "".join(SPECIAL * 3),
    "漢字 <pad></s><s><mask><unk>",
    "남자가 음악을 연주하고 있다.",
]
PIECES = st.lists(st.sampled_from([*SPECIAL, "남자", " ", "漢", "drum"]), min_size=1, max_size=30).map("".join)


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


def reference(folder, texts):
    return SentenceTransformer(str(folder), device="cpu").encode(texts, batch_size=1)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request, tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp(request.param) / "m", architecture=request.param)


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, LoadOptions(device="cpu", runtime="openvino", compute_type="float32"))


def test_on_a_cpu_together_and_alone(folder, encoder):
    expected = reference(folder, TEXTS)
    assert cosines(encode(encoder, TEXTS), expected).min() >= 0.9999
    assert cosines(np.concatenate([encode(encoder, [text]) for text in TEXTS]), expected).min() >= 0.9999


def test_in_torch(folder):
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999


def test_in_one_row_of_all_texts(folder):
    model = load_model(folder, torch.device("cpu"), torch.float32)
    modules = list(model)
    rules = find_packing(modules, plain_rules(model), Attention.VARLEN)
    if rules.packs:  # as on a GPU; one that does not pack runs as in torch
        found = FlatForward(modules, rules, torch.device("cpu"))(TextTokenizer(rules)(TEXTS, Prompting()))
        assert cosines(found, reference(folder, TEXTS)).min() >= 0.9999


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(PIECES, min_size=1, max_size=6))
def test_any_mixture_of_them(folder, encoder, texts):
    assert cosines(encode(encoder, texts), reference(folder, texts)).min() >= 0.9999


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_a_tokenizer_that_splits_special_tokens_of_a_text_does_so_here_too(tmp_path, runtime):
    folder = tiny_model(tmp_path / "m")
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"split_special_tokens": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime=runtime, compute_type="float32"))
    assert len(encoder.tokenize(["[MASK]"])[0]) > 3
    assert cosines(encode(encoder, TEXTS), reference(folder, TEXTS)).min() >= 0.9999
