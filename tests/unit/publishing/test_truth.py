"""A vector is that of its text alone, or each text runs alone, or the model is refused; and it costs little."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.modules import CNN, Pooling

from munjang.encoder.contract import ModelInfo
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import ModelLoadFailed, UnsupportedModel
from munjang.korean import PARAGRAPH
from munjang.publishing import publish_model
from munjang.publishing.describe import describe
from munjang.publishing.truth import find_dependence
from munjang.registry import Registry
from munjang.testing import FakeEncoder
from tests.zoo.building import WIDTH
from tests.zoo.configurations import of_modules, word_embeddings

INFO = ModelInfo(8, 64)


class Changed(FakeEncoder):
    """An encoder whose vectors are changed by `change`, given the batch, its vectors and what it ran before."""

    def __init__(self, change):
        super().__init__(info=INFO)
        self.change = change
        self.before = []

    def forward(self, batch, **options):
        vectors = self.change(batch, super().forward(batch, **options), self.before)
        self.before += map(len, batch)
        return vectors


def beside_a_longer(batch, vectors, _):
    longest = max(map(len, batch))
    return vectors + np.array([[longest - len(tokens)] + [0] * 7 for tokens in batch], np.float32)


def by_place(batch, vectors, _):
    return vectors + np.arange(len(batch), dtype=np.float32)[:, None]


def after_a_long_text(batch, vectors, before):
    return vectors * np.array([-1 if i == 0 and max(before, default=0) == 64 else 1 for i in range(8)], np.float32)


def after_a_short_text(batch, vectors, before):
    return vectors * np.array([-1 if i == 0 and min(before, default=64) < 9 else 1 for i in range(8)], np.float32)


def one_of_them(value):
    def change(batch, vectors, _):
        vectors[[len(tokens) < 4 for tokens in batch]] = value
        return vectors

    return change


def test_a_model_whose_vectors_are_those_of_their_texts_passes():
    assert find_dependence(FakeEncoder(info=INFO)) == ""


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (beside_a_longer, "beside other texts"),
        (by_place, "beside other texts"),
        (after_a_long_text, "after other texts"),
        (after_a_short_text, "after other texts"),
    ],
)
def test_what_a_vector_depends_on_is_said_with_the_text(change, how):
    assert f"is another one {how} (cosine" in find_dependence(Changed(change))


@pytest.mark.parametrize(("value", "words"), [(0, "all zeros, of '가'"), (np.nan, "not finite .* of '가'")])
def test_zero_and_non_finite_vectors_are_refused_with_the_text(value, words):
    with pytest.raises(ModelLoadFailed, match=words):
        find_dependence(Changed(one_of_them(value)))


def test_a_text_that_fills_the_model_is_among_those_that_run_together():
    encoder = Changed(lambda batch, vectors, _: vectors)
    find_dependence(encoder)
    assert encoder.before.count(64) >= 2


def test_the_texts_are_few_and_bounded():
    encoder = Changed(lambda batch, vectors, _: vectors)
    encoder.info = ModelInfo(8, 1 << 19)
    find_dependence(encoder)
    assert sum(encoder.before) < 6 * len(PARAGRAPH)


@pytest.fixture(scope="module")
def mixer(tmp_path_factory):
    """A convolution mixes all tokens of a row, padding among them."""
    folder = tmp_path_factory.mktemp("mixer") / "model"
    of_modules(lambda _: [word_embeddings(), CNN(WIDTH, 16, [1, 3]), Pooling(WIDTH)])(folder)
    return folder


def test_a_model_that_mixes_padding_into_its_vectors_runs_each_text_alone(mixer, tmp_path):
    told = []
    manifest = publish_model(Registry(str(tmp_path / "registry")), mixer, tell=told.append)
    assert manifest.alone
    assert any("each text runs alone and in torch, which is slow" in line for line in told)
    encoder = load_encoder(mixer, LoadOptions(device="cpu", compute_type="float32", alone=manifest.alone))
    tokens = encoder.tokenize(["가", "비가 온다.", "회의는 세 시에 시작합니다."])
    together, alone = encoder.forward(tokens), [encoder.forward([one])[0] for one in tokens]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-4, atol=1e-5)
    assert encoder.computed([3, 9, 20]) == 32


def test_a_runtime_that_cannot_run_texts_alone_is_refused(mixer):
    with pytest.raises(ModelLoadFailed, match="only torch runs each text alone"):
        load_encoder(mixer, LoadOptions(device="cpu", runtime="openvino", alone=True))


def test_a_model_that_changes_also_alone_is_refused(folder, monkeypatch):
    words = "the vector of '가' is another one after other texts"
    monkeypatch.setattr(sys.modules[describe.__module__], "find_dependence", lambda _: words)
    with pytest.raises(UnsupportedModel, match=r"is another one after other texts, also if each text runs alone"):
        describe(folder)


def test_an_ordinary_model_does_not_run_its_texts_alone(folder):
    assert not describe(folder).alone
