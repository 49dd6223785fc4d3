import json
import re

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

SENTENCES = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다.", "비가 온다 🌧"]


@pytest.fixture(scope="module")
def oracle(tiny_folder):
    return SentenceTransformer(str(tiny_folder), device="cpu")


def test_json_has_the_models_own_vectors(run, target, oracle):
    found = run("encode", *SENTENCES, "--target", target, "--json").json()
    expected = oracle.encode(SENTENCES, normalize_embeddings=True)
    np.testing.assert_allclose(found["vectors"], expected, atol=1e-5)
    assert (found["version"], found["dimensions"], found["precision"], found["truncated"]) == (1, 32, "float32", [])


def test_a_prompt_goes_before_each_text(run, target, oracle):
    found = run("encode", SENTENCES[0], "--target", target, "--prompt", "query", "--json").json()
    expected = oracle.encode(SENTENCES[:1], prompt_name="query", normalize_embeddings=True)
    np.testing.assert_allclose(found["vectors"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "prompt"),
    [
        (["--role", "query"], "질문: "),
        (["--role", "document"], ""),
        (["--role", "query", "--no-prompt"], ""),
        (["--prompt-text", "찾기: "], "찾기: "),
    ],
)
def test_a_role_or_the_text_of_a_prompt_chooses_the_words(run, target, oracle, arguments, prompt):
    found = run("encode", SENTENCES[0], "--target", target, *arguments, "--json").json()
    expected = oracle.encode(SENTENCES[:1], prompt=prompt, normalize_embeddings=True)
    np.testing.assert_allclose(found["vectors"], expected, atol=1e-5)


def test_a_prompt_is_chosen_in_one_way(run, target):
    done = run("encode", "글", "--target", target, "--prompt", "query", "--no-prompt")
    assert done.status == 2
    assert "choose one of --prompt and --no-prompt" in done.err


def test_a_version_is_pinned_by_its_space(run, target, tiny_registry):
    space = tiny_registry.manifest(1).space_id
    found = run("encode", "글", "--target", target, "--version", space, "--json").json()
    assert (found["version"], found["space_id"]) == (1, space)
    assert run("similarity", "글", "--target", target, "--version", space, "--json").json()["space_id"] == space


def test_a_file_becomes_a_npy_file_row_by_row(run, target, oracle, tmp_path):
    lines = [f"{number}번째 문장입니다." for number in range(700)]
    corpus, output = tmp_path / "말뭉치.txt", tmp_path / "벡터.npy"
    corpus.write_text("\n".join(lines) + "\n")
    done = run("encode", "--file", corpus, "--npy", output, "--target", target)
    assert done.status == 0
    assert "wrote 700 × 32 float32" in done.err
    rows = np.load(output)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, oracle.encode(lines, normalize_embeddings=True), atol=1e-5)


def test_int8_in_a_npy_file_is_near_the_vectors(run, target, oracle, tmp_path):
    output = tmp_path / "벡터.npy"
    assert run("encode", *SENTENCES, "--precision", "int8", "--npy", output, "--target", target).status == 0
    expected = oracle.encode(SENTENCES, normalize_embeddings=True)
    assert (np.load(output) * expected).sum(axis=1).min() > 0.99


def test_packed_bits_have_no_npy_form(run, target, tmp_path):
    assert run("encode", "글", "--precision", "ubinary", "--npy", tmp_path / "x.npy", "--target", target).status == 2
    assert len(run("encode", "글", "--precision", "ubinary", "--target", target, "--json").json()["vectors"][0]) == 4


def test_a_person_sees_a_table(run, target):
    done = run("encode", *SENTENCES, "--target", target)
    assert done.status == 0
    assert all(sentence in done.out for sentence in SENTENCES)
    assert "version 1 · 32 dimensions" in done.out


def test_a_text_that_was_cut_is_marked(run, target):
    assert "64 (cut)" in run("encode", "긴 글 " * 100, "--target", target).out
    assert run("encode", "짧다", "긴 글 " * 100, "--target", target, "--json").json()["truncated"] == [1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--version", "9"], "version 9"),
        (["--version", "canary"], "canary"),
        (["--prompt", "없는이름"], "없는이름"),
        (["--dimensions", "4096"], "4096"),
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(run, target, arguments, said):
    done = run("encode", "글", "--target", target, *arguments)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert said in done.err


def test_a_line_that_the_server_refuses_is_named(run, target, tmp_path, monkeypatch):
    corpus = tmp_path / "말뭉치.txt"
    corpus.write_text("\n".join(["짧은 글"] * 299 + ["길" * 300_000]))
    done = run("encode", "--file", corpus, "--target", target)
    assert done.status == 1
    assert f"line 300 of {corpus}" in done.err


def test_similarity_has_ones_on_the_diagonal(run, target, oracle):
    found = run("similarity", *SENTENCES, "--target", target, "--json").json()
    scores = np.array(found["scores"])
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-5)
    vectors = oracle.encode(SENTENCES, normalize_embeddings=True)
    np.testing.assert_allclose(scores, vectors @ vectors.T, atol=1e-5)
    assert (found["version"], found["function"]) == (1, "cosine")


def test_a_person_sees_a_matrix(run, target):
    done = run("similarity", *SENTENCES, "--target", target)
    rows = [line.split() for line in done.out.splitlines()[2:]]
    assert [row[-3 + index] for index, row in enumerate(rows)] == ["1.000"] * 3


def test_the_target_may_come_from_the_environment(run, target, monkeypatch):
    monkeypatch.setenv("MUNJANG_TARGET", target)
    assert json.loads(run("similarity", "글", "--json").out)["version"] == 1


def test_no_server_is_an_error_that_says_what_to_do(run):
    done = run("encode", "글", "--target", "127.0.0.1:1")
    assert done.status == 1
    assert re.search(r"`\S*munjang up` starts one", done.err)
