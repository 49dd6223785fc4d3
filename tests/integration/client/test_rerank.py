"""Rerank through both clients and a real gRPC server."""

import numpy as np
import pytest

from munjang import errors

DOCUMENTS = ["셋셋셋", "하나", "넷넷넷넷", "둘둘"]


def test_documents_come_in_their_order_with_scores(client):
    found = client.rerank("몇 글자?", DOCUMENTS)
    assert [(each.index, each.score) for each in found.results] == [(2, 4.0), (0, 3.0), (1, 2.0), (3, 2.0)]
    assert (found.version, found.space_id, len(found), found.truncated) == (5, "5" * 32, 4, (0,))
    assert found.token_counts.dtype == np.uint32


def test_options_reach_the_server(client, server):
    client.rerank("물음", DOCUMENTS, top_n=3, version="canary", raw_scores=True, truncation="none")
    [request] = server.reranking.requests
    assert (request.query, list(request.documents), request.version) == ("물음", DOCUMENTS, "canary")
    assert (request.top_n, request.raw_scores, request.truncation) == (3, True, 2)


def test_a_long_list_goes_in_parts_of_one_version_and_is_one_order(client, server):
    documents = ["가" * (1 + number * 7 % 95) for number in range(95)]
    found = client.rerank("물음", documents, top_n=20)
    sent = server.reranking.requests
    assert sorted(len(request.documents) for request in sent) == [5] + [10] * 9
    assert sorted(request.version for request in sent) == [""] + ["5"] * 9
    best = sorted(range(95), key=lambda index: (-len(documents[index]), index))[:20]
    assert [each.index for each in found.results] == best
    assert [each.score for each in found.results] == [float(len(documents[index])) for index in best]
    assert found.token_counts.shape == (95,)
    assert found.truncated == tuple(range(0, 95, 10))


@pytest.mark.parametrize(
    ("query", "documents", "options", "kind", "path"),
    [
        ("물음", [], {}, errors.NoTexts, "documents"),
        ("물음", ["가", " "], {}, errors.EmptyText, "documents[1]"),
        (" ", DOCUMENTS, {}, errors.EmptyText, "query"),
        (None, DOCUMENTS, {}, errors.InvalidText, "query"),
        ("\ud800", DOCUMENTS, {}, errors.InvalidText, "query"),
        ("물음", DOCUMENTS, {"top_n": -1}, errors.InvalidOption, "top_n"),
        ("물음", DOCUMENTS, {"truncation": "start"}, errors.InvalidOption, "truncation"),
    ],
)
def test_what_no_server_takes_is_refused_before_it_is_sent(
    client, server, caught, query, documents, options, kind, path
):
    error = caught(client.rerank, query, documents, **options)
    assert (type(error), error.path) == (kind, path)
    assert not server.reranking.requests


def test_an_error_counts_in_the_whole_list(client, server, caught, make_status):
    server.reranking.fails_at = "나쁨"
    error = caught(client.rerank, "물음", ["가"] * 23 + ["나쁨"] + ["가"] * 9)
    assert (error.reason, error.path) == ("TEXT_TOO_LONG", "documents[23]")


def test_a_reply_about_other_documents_is_refused(client, server, caught):
    server.reranking.loses = 1
    assert "4 were sent" in str(caught(client.rerank, "물음", DOCUMENTS))
