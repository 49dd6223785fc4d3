"""A cross-encoder's scores are those of sentence-transformers, in each runtime, whatever shares a batch with a pair."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from munjang.encoder.encode import forward_all
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import activated
from munjang.errors import UnsupportedModel
from munjang.kinds import ModelKind
from munjang.korean import PARAGRAPH, SENTENCES
from munjang.testing_models import tiny_cross_encoder, tiny_model

PAIRS = [
    *zip(SENTENCES[::6], SENTENCES[::-6], strict=True),
    ("가", PARAGRAPH),
    (PARAGRAPH, "가"),
    (PARAGRAPH, PARAGRAPH),
    ("생일 축하해!! 🎉", "와 진짜 대박ㅋㅋㅋ 😊"),
    ("GPU 메모리 p99", "[PAD] [SEP] <pad>"),
]
DECODER = {"num_key_value_heads": 2}
MODELS = {
    "bert": {},
    "xlm-roberta": {},
    "modernbert": {},
    "modernbert-mean": {"architecture": "modernbert", "classifier_pooling": "mean"},
    "electra": {},
    "qwen3": DECODER,
}


def load(folder, runtime="auto", **options):
    chosen = LoadOptions(device="cpu", compute_type="float32", runtime=runtime, kind=ModelKind.CROSS_ENCODER, **options)
    return load_encoder(folder, chosen)


def raw(encoder, pairs):
    return forward_all(encoder, encoder.tokenize_pairs(pairs))[:, 0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: tiny_cross_encoder(tmp_path_factory.mktemp(name) / "m", **{"architecture": name} | options)
        for name, options in MODELS.items()
    }


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_sentence_transformers(folders, name, runtime):
    encoder, theirs = load(folders[name], runtime), CrossEncoder(str(folders[name]), device="cpu")
    found = raw(encoder, PAIRS)
    alone = np.concatenate([raw(encoder, [pair]) for pair in PAIRS])
    expected = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(alone, expected, atol=1e-4)
    np.testing.assert_allclose(activated(found, encoder.info.activation), theirs.predict(PAIRS), atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "electra"])
def test_short_pairs_share_rows(folders, name):
    assert load(folders[name], "openvino").packs


def test_what_callers_may_know_of_it(folders):
    info = load(folders["bert"], "torch").info
    assert (info.kind, info.dimensions, info.max_tokens, info.similarity) == (ModelKind.CROSS_ENCODER, 1, 64, "")


def test_an_export_that_is_kept_scores_the_same_and_keeps_the_kind(folders, tmp_path):
    export = tmp_path / ("0" * 32)
    first, second = (load(folders["bert"], export=export) for _ in range(2))
    assert (export / "rules.json").is_file()
    assert second.info == first.info
    np.testing.assert_array_equal(raw(first, PAIRS), raw(second, PAIRS))


@pytest.mark.parametrize("activation", [torch.nn.Identity(), torch.nn.Sigmoid(), torch.nn.Tanh(), torch.nn.ReLU()])
def test_each_activation_is_the_models_own(tmp_path, activation):
    folder = tiny_cross_encoder(tmp_path / "m", activation=activation)
    encoder = load(folder, "torch")
    found = activated(raw(encoder, PAIRS), encoder.info.activation)
    np.testing.assert_allclose(found, CrossEncoder(str(folder), device="cpu").predict(PAIRS), atol=1e-5)


def test_the_activation_of_a_folder_from_before_there_were_modules(tmp_path):
    folder = tiny_cross_encoder(tmp_path / "m", modules=False)
    config = json.loads((folder / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}
    (folder / "config.json").write_text(json.dumps(config))
    encoder = load(folder, "torch")
    assert encoder.info.activation == "identity"
    np.testing.assert_allclose(raw(encoder, PAIRS), CrossEncoder(str(folder), device="cpu").predict(PAIRS), atol=1e-5)


def test_an_activation_that_is_not_known_is_refused(tmp_path):
    folder = tiny_cross_encoder(tmp_path / "m", activation=torch.nn.Softplus())
    with pytest.raises(UnsupportedModel, match="activation is Softplus; there are identity, sigmoid"):
        load(folder, "torch")


def test_the_default_prompt_goes_before_the_query(tmp_path):
    folder = tiny_cross_encoder(tmp_path / "m")
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text()) | {"prompts": {"rank": "질문: "}, "default_prompt_name": "rank"}
    path.write_text(json.dumps(config))
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(raw(load(folder, "torch"), PAIRS), expected, atol=1e-5)


def test_a_pooling_and_a_dense_module_may_make_the_score(tmp_path):
    torch.manual_seed(0)
    tiny_model(tmp_path / "dense")
    transformer = Transformer(str(tmp_path / "dense-bare"))
    score = Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    model = CrossEncoder(modules=[transformer, Pooling(32, pooling_mode="mean"), score], device="cpu")
    model.save(str(tmp_path / "m"))
    expected = CrossEncoder(str(tmp_path / "m"), device="cpu").predict(PAIRS, activation_fn=torch.nn.Identity())
    for runtime in ("torch", "openvino"):
        np.testing.assert_allclose(raw(load(tmp_path / "m", runtime), PAIRS), expected, atol=1e-4)


def test_a_head_that_reads_a_decoder_too_is_refused_in_words(tmp_path):
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    folder = tiny_cross_encoder(tmp_path / "m", architecture="bart", **sizes, **heads)
    with pytest.raises(UnsupportedModel, match="needs more than the last token vectors"):
        load(folder, "torch")
