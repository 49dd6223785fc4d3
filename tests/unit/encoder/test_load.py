"""The encoder on tiny real models: the same vectors as sentence-transformers, whatever else is in the batch."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.errors import ConfigurationError, InvalidText, ModelLoadFailed
from munjang.testing_models import tiny_model

TEXTS = [
    "밀짚모자를 쓴 남자가 드럼을 쳤다.",
    "남자가 음악을 연주하고 있다.",
    "ㅋㅋㅋ 진짜? 🥁 drum을 쳤다고",
    "각",
    "띄어쓰기가있든없든 " * 40,
    "漢字와 한글 and English, 1234.",
    "\t 앞뒤 공백 \n",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))


def cosines(left, right):
    return np.einsum("ij,ij->i", normalized(left), normalized(right))


@pytest.mark.parametrize("prompt_name", ["", "query"])
def test_vectors_equal_those_of_sentence_transformers(folder, encoder, prompt_name):
    reference = SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(TEXTS, prompt_name=prompt_name or None)

    assert cosines(encode(encoder, TEXTS, prompting(encoder.info, prompt_name=prompt_name)), expected).min() >= 0.9999


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "weightedmean", "lasttoken"])
def test_every_pooling_equals_sentence_transformers_also_where_it_leaves_out_the_prompt(tmp_path, pooling):
    folder = tiny_model(tmp_path / "m", pooling=pooling, include_prompt=False, normalize=True)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt_name="query")

    encoder = load_encoder(folder, LoadOptions(device="cpu", runtime="torch"))
    found = encode(encoder, TEXTS, prompting(encoder.info, prompt_name="query"))
    assert cosines(found, expected).min() >= 0.9999


def test_texts_with_and_without_prompt_share_a_batch_where_the_pooling_leaves_out_prompts(tmp_path):
    encoder = load_encoder(tiny_model(tmp_path / "m", include_prompt=False), LoadOptions(device="cpu", runtime="torch"))
    query = prompting(encoder.info, prompt_name="query")
    asked, plain = encoder.tokenize(TEXTS[:2], query), encoder.tokenize(TEXTS[:2])

    together = encoder.forward([asked[0], plain[0], asked[1], plain[1]])

    alone = np.concatenate([encoder.forward([tokens]) for tokens in (asked[0], plain[0], asked[1], plain[1])])
    assert cosines(together, alone).min() >= 0.9999


def test_a_vector_does_not_depend_on_the_rest_of_its_batch(encoder):
    alone = np.concatenate([encode(encoder, [text]) for text in TEXTS])

    assert cosines(encode(encoder, TEXTS, budget=10_000), alone).min() >= 0.9999


def test_decomposed_hangul_gives_the_vector_of_composed_hangul(encoder):
    decomposed = unicodedata.normalize("NFD", TEXTS[0])

    assert decomposed != TEXTS[0]
    assert np.array_equal(encode(encoder, [decomposed]), encode(encoder, [TEXTS[0]]))


def test_a_text_past_the_limit_is_cut_and_says_so(encoder):
    short, long = encoder.tokenize([TEXTS[0], "가나다라 " * 20_000])

    assert not short.truncated
    assert long.truncated
    assert len(long) == encoder.info.max_tokens == 64


def test_token_counts_include_special_tokens_and_prompt(encoder):
    query = prompting(encoder.info, prompt_name="query")
    plain, prompted = encoder.tokenize(["각"])[0], encoder.tokenize(["각"], query)[0]

    assert len(plain) == 3
    assert len(prompted) > len(plain)


@pytest.mark.parametrize("default", [None, "query"])
@pytest.mark.parametrize("kind", ["transformer", "static"])
def test_a_prompt_without_words_is_a_prompt(tmp_path, folder, kind, default):
    if kind == "static":
        modules = [StaticEmbedding(Tokenizer.from_file(str(folder / "tokenizer.json")), embedding_dim=16)]
    else:
        modules = list(SentenceTransformer(str(folder), device="cpu"))
    prompts = {"query": "질문: ", "document": "", "글": ""}
    model = SentenceTransformer(modules=modules, prompts=prompts, default_prompt_name=default, device="cpu")
    model.save(str(tmp_path / "m"))

    encoder = load_encoder(tmp_path / "m", LoadOptions(device="cpu", runtime="torch"))

    assert encoder.info.prompts == prompts
    for name in ("", *prompts):
        expected = model.encode(TEXTS, prompt_name=name or None)
        assert cosines(encode(encoder, TEXTS, prompting(encoder.info, prompt_name=name)), expected).min() >= 0.9999


def test_an_unpaired_surrogate_is_refused_with_its_index(encoder):
    with pytest.raises(InvalidText) as caught:
        encoder.tokenize(["문장", "깨진 \ud83e 글자"])

    assert caught.value.path == "texts[1]"


def test_padding_and_truncation_of_the_tokenizer_file_are_switched_off(tmp_path):
    folder = tiny_model(tmp_path / "m")
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.enable_padding(length=64)
    core.enable_truncation(4)
    core.save(str(folder / "tokenizer.json"))

    tokens = load_encoder(folder, LoadOptions(device="cpu", runtime="torch")).tokenize(["남자가 음악을"])[0]

    assert 4 < len(tokens) < 64
    assert not tokens.truncated


def test_bfloat16_stays_near_float32(folder, encoder):
    rounded = load_encoder(folder, LoadOptions(device="cpu", runtime="torch", compute_type="bfloat16"))

    assert cosines(encode(rounded, TEXTS), encode(encoder, TEXTS)).min() > 0.999


def test_a_static_embedding_model_is_served_too(tmp_path, folder):
    static = StaticEmbedding(Tokenizer.from_file(str(folder / "tokenizer.json")), embedding_dim=16)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    expected = SentenceTransformer(str(tmp_path / "static"), device="cpu").encode(TEXTS)

    encoder = load_encoder(tmp_path / "static", LoadOptions(device="cpu", runtime="torch"))

    assert cosines(encode(encoder, TEXTS), expected).min() >= 0.9999
    assert [len(tokens) for tokens in encoder.tokenize(["각", "남자"])] == [1, 2]


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelLoadFailed):
        load_encoder(tmp_path, LoadOptions(device="cpu", runtime="torch"))


def test_a_device_that_the_machine_lacks_is_refused(folder):
    with pytest.raises(ConfigurationError, match="xpu:9"):
        load_encoder(folder, LoadOptions(device="xpu:9"))


def test_a_closed_encoder_refuses_work(tmp_path):
    encoder = load_encoder(tiny_model(tmp_path / "m"), LoadOptions(device="cpu", runtime="torch"))
    tokens = encoder.tokenize(["문장"])
    encoder.close()

    with pytest.raises(RuntimeError, match="closed"):
        encoder.forward(tokens)
