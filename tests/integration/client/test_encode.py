"""Encode and Similarity through both clients and a real gRPC server."""

import grpc
import numpy as np
import pytest

from munjang import errors
from munjang.testing import FakeEncoder

SENTENCES = ["밀짚모자를 쓴 남자가 드럼을 쳤다.", "남자가 음악을 연주하고 있다.", "KTX로 서울에 간다 🚄", "ㅋㅋㅋ"]


def expected(texts, version=7):
    encoder = FakeEncoder(seed=version)
    return encoder.forward(encoder.tokenize(texts))


def test_vectors_come_in_the_order_of_the_texts(client):
    found = client.encode(SENTENCES)
    np.testing.assert_array_equal(found.vectors, expected(SENTENCES))
    assert (found.version, found.dimensions, len(found), found.errors) == (7, 8, 4, ())
    assert found.token_counts.tolist() == [len(text) + 2 for text in SENTENCES]


def test_one_text_is_a_list_of_one(client):
    assert client.encode("안녕하세요").vectors.shape == (1, 8)


def test_options_reach_the_server(client, server):
    client.encode(
        SENTENCES,
        version="canary",
        role="document",
        prompt_name="query",
        normalize=False,
        dimensions=4,
        precision="int8",
        truncation="none",
        partial_results=True,
    )
    request = server.embedding.requests[0]
    options = request.options
    assert (options.version, options.prompt_name, options.normalize, options.dimensions) == (
        "canary",
        "query",
        False,
        4,
    )
    assert (options.precision, options.truncation, request.partial_results) == (4, 2, True)
    assert (options.role, options.HasField("prompt")) == (2, False)


def test_roles_and_texts_of_prompts_reach_the_server_from_every_call(client, server):
    client.encode(SENTENCES, role="query", prompt="찾기: ")
    list(client.encode_stream(SENTENCES, role="query", prompt="찾기: "))
    assert {(one.options.role, one.options.prompt) for one in server.embedding.requests} == {(1, "찾기: ")}


def test_the_space_of_the_version_comes_with_the_vectors(client):
    assert client.encode(SENTENCES).space_id == "5a" * 16


@pytest.mark.parametrize(
    ("precision", "dtype", "width"),
    [
        ("float32", np.float32, 8),
        ("float16", np.float16, 8),
        ("bfloat16", np.float32, 8),
        ("int8", np.int8, 8),
        ("ubinary", np.uint8, 1),
    ],
)
def test_each_precision_has_its_dtype(client, precision, dtype, width):
    found = client.encode(SENTENCES, precision=precision)
    assert (found.vectors.dtype, found.vectors.shape, found.dimensions) == (dtype, (4, width), 8)
    assert found.scale == pytest.approx(0.05 if precision == "int8" else 0)


def test_a_long_list_goes_in_parts_and_comes_back_in_order(client, server):
    texts = [f"{number}번째 문장" for number in range(95)]
    found = client.encode(texts)
    np.testing.assert_array_equal(found.vectors, expected(texts))
    assert sorted(len(request.texts) for request in server.embedding.requests) == [5] + [10] * 9


def test_parts_of_one_list_are_of_one_version_though_the_alias_moves(client, server):
    def swap():
        server.embedding.version = 8

    server.embedding.after_encode = swap
    texts = [f"{number}번째" for number in range(35)]
    found = client.encode(texts, version="stable")
    assert [request.options.version for request in server.embedding.requests] == ["stable", "7", "7", "7"]
    np.testing.assert_array_equal(found.vectors, expected(texts, version=7))


def test_a_server_that_lags_behind_the_version_of_a_list_is_asked_again(client, server, make_status):
    def lag():
        server.embedding.after_encode = lambda: None
        server.embedding.failures.append(make_status(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"))

    server.embedding.after_encode = lag
    texts = [f"{number}번째" for number in range(35)]
    np.testing.assert_array_equal(client.encode(texts).vectors, expected(texts))
    assert len(server.embedding.requests) == 5


def test_a_version_that_nobody_has_answered_with_is_refused_at_once(client, server, make_status, caught):
    server.embedding.failures.append(make_status(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"))
    assert isinstance(caught(client.encode, "글", version=9), errors.VersionNotFound)
    assert len(server.embedding.requests) == 1


def test_indices_count_in_the_whole_list(client):
    texts = ["짧다"] * 25
    texts[23] = "길" * 500
    assert client.encode(texts).truncated == (23,)


def test_the_servers_error_counts_in_the_whole_list(client, server, make_status, caught):
    def fail_next():
        server.embedding.after_encode = lambda: None
        server.embedding.failures.append(
            make_status(grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG", path="texts[3]")
        )

    server.embedding.after_encode = fail_next
    error = caught(client.encode, ["글"] * 20, truncation="none")
    assert isinstance(error, errors.TextTooLong)
    assert (error.field, error.index) == ("texts", 13)


def test_partial_results_say_which_texts_failed(client):
    texts = ["좋다"] * 30
    texts[12], texts[25] = "", "\ud83d"
    found = client.encode(texts, partial_results=True)
    assert [(error.index, type(error)) for error in found.errors] == [(12, errors.EmptyText), (25, errors.InvalidText)]
    assert not found.vectors[12].any()
    assert not found.vectors[25].any()
    assert found.vectors[0].any()


def test_bad_input_is_refused_before_anything_is_sent(client, server, caught):
    for texts, kind, index in [
        ([], errors.NoTexts, None),
        (["좋다"] * 14 + ["\ud83d"], errors.InvalidText, 14),
        (["좋다", " \n"], errors.EmptyText, 1),
        (["좋다", 3], errors.InvalidText, 1),
    ]:
        error = caught(client.encode, texts)
        assert (type(error), error.field, error.index) == (kind, "texts", index)
    assert isinstance(caught(client.encode, "글", precision="float8"), errors.UnsupportedPrecision)
    assert isinstance(caught(client.encode, "글", dimensions=-1), errors.UnsupportedDimensions)
    assert caught(client.encode, "글", truncation="middle").field == "options.truncation"
    assert not server.embedding.requests


def test_a_matrix_has_a_row_for_each_query(client):
    found = client.similarity(SENTENCES, SENTENCES[:2])
    assert found.scores.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert (found.version, found.function, found.indices, found.truncated_queries) == (7, "cosine", None, (0,))


def test_pairs_are_a_row_of_scores(client):
    assert client.similarity(SENTENCES, SENTENCES, mode="pairwise").scores.tolist() == [0, 1, 2, 3]


def test_top_k_names_the_candidates(client):
    found = client.similarity(SENTENCES[:2], SENTENCES, mode="top_k", top_k=3)
    assert found.scores.shape == (2, 3)
    assert found.indices.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_contradicting_similarity_options_are_refused_before_anything_is_sent(client, server, caught):
    assert caught(client.similarity, SENTENCES, mode="cosine").field == "mode"
    assert caught(client.similarity, SENTENCES, mode="top_k").field == "top_k"
    assert caught(client.similarity, SENTENCES, top_k=3).field == "top_k"
    assert caught(client.similarity, SENTENCES, SENTENCES[:1], mode="pairwise").field == "candidates"
    assert isinstance(caught(client.similarity, SENTENCES, []), errors.NoTexts)
    assert caught(client.similarity, SENTENCES, ["좋다", ""]).path == "candidates[1]"
    assert not server.embedding.requests


def test_versions_and_aliases_are_read(client, caught):
    assert [(found.version, found.state, found.reason) for found in client.versions()] == [
        (8, "failed", "sha256 다름"),
        (7, "available", ""),
    ]
    assert client.aliases()["stable"].serving == 7
    assert client.version("stable").created_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert isinstance(caught(client.version, "없는이름"), errors.VersionNotFound)
