"""`munjang rerank` in this process: what it asks, and what it shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from munjang.cli.main import main
from munjang.client import RankedDocument, Ranking

DOCUMENTS = ["비가 온다.", "3~5일 걸립니다."]


class FakeClient:
    """Answers with one order, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def rerank(self, query, documents, **options):
        self.asked.append((query, documents, options))
        results = (RankedDocument(1, 0.9), RankedDocument(0, 0.25))
        return Ranking(results, 4, "4" * 32, np.array([9, 12], np.uint32), (1,))


@pytest.fixture
def client(monkeypatch):
    found = FakeClient()
    monkeypatch.setattr("munjang.cli.options.Server.connect", lambda _: found)
    return found


def test_a_table_shows_the_best_first(client, capsys):
    assert main(["rerank", "며칠?", *DOCUMENTS, "--top", "2", "--version", "canary", "--raw"]) == 0
    shown = capsys.readouterr().out
    assert "며칠? · version 4" in shown
    assert shown.index("0.9000") < shown.index(DOCUMENTS[1]) < shown.index("12 (cut)") < shown.index("0.2500")
    assert client.asked == [("며칠?", DOCUMENTS, {"top_n": 2, "version": "canary", "raw_scores": True})]


def test_json_has_the_documents_of_a_file(client, capsys, tmp_path):
    file = tmp_path / "문서.txt"
    file.write_text("\n".join(DOCUMENTS) + "\n", "utf-8")
    assert main(["rerank", "며칠?", "--in", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == [
        {"index": 1, "score": 0.9, "document": DOCUMENTS[1]},
        {"index": 0, "score": 0.25, "document": DOCUMENTS[0]},
    ]
    assert (found["version"], found["token_counts"], found["truncated"]) == (4, [9, 12], [1])


def test_documents_and_a_file_together_are_wrong_usage(client, capsys, tmp_path):
    assert main(["rerank", "며칠?", "문서", "--in", str(tmp_path)]) == 2
    assert "--in, not both" in " ".join(capsys.readouterr().err.split())
    assert main(["rerank", "며칠?"]) == 2
    assert not client.asked
