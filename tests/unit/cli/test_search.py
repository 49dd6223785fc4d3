"""`munjang search` in this process: what it asks, and what it shows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from munjang.cli.main import main
from munjang.client import Scores
from munjang.errors import TextTooLong

TEXTS = ["비가 온다.", "3~5일 걸립니다.", "환불은 사흘 안에 됩니다."]


class FakeClient:
    """Scores a text by its length; as version 4, whatever is asked."""

    def __init__(self):
        self.asked = []
        self.fails_at = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def similarity(self, queries, candidates, **options):
        self.asked.append((queries, len(candidates), dict(options)))
        if self.fails_at in candidates:
            index = candidates.index(self.fails_at)
            raise TextTooLong("zu lang", field="candidates", index=index)
        lengths = np.array([len(text) for text in candidates], np.float32)
        order = np.argsort(-lengths, kind="stable")[: options["top_k"]]
        tokens = np.ones(len(candidates), np.uint32)
        return Scores(lengths[order][None], 4, "cosine", order[None], np.ones(1, np.uint32), tokens, (), (0,), "4" * 32)


@pytest.fixture
def client(monkeypatch):
    found = FakeClient()
    monkeypatch.setattr("munjang.cli.options.Server.connect", lambda _: found)
    return found


def test_a_ranking_of_the_lines_of_a_file(client, capsys, tmp_path):
    file = tmp_path / "faq.txt"
    file.write_text("\n".join(TEXTS) + "\n", "utf-8")
    assert main(["search", "환불은?", "--in", str(file), "--top", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [(row[1], row[5]) for row in rows] == [("1", "3"), ("2", "2")]
    assert client.asked == [
        (
            ["환불은?"],
            3,
            {
                "mode": "top_k",
                "top_k": 2,
                "version": "",
                "query_role": "query",
                "candidate_role": "document",
                "dimensions": 0,
            },
        )
    ]


def test_json_has_the_texts_and_who_scored_them(client, capsys):
    assert main(["search", "환불은?", *TEXTS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["index"], each["text"]) for each in found["results"]] == [(2, TEXTS[2]), (1, TEXTS[1]), (0, TEXTS[0])]
    assert (found["version"], found["space_id"], found["function"], found["truncated"]) == (4, "4" * 32, "cosine", [0])
    assert len(client.asked) == 1


def test_many_texts_are_several_calls_of_one_version(client, capsys, tmp_path):
    file = tmp_path / "faq.txt"
    file.write_text("\n".join(f"글 {'가' * (number % 7)}" for number in range(600)), "utf-8")
    assert main(["search", "q", "--in", str(file), "--version", "canary", "--top", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["index"] for each in found["results"]] == [6, 13, 20]
    assert found["truncated"] == [0, 256, 512]
    assert [(count, options["version"]) for _, count, options in client.asked] == [
        (256, "canary"),
        (256, 4),
        (88, 4),
    ]


def test_an_error_names_the_line(client, capsys, tmp_path):
    file = tmp_path / "faq.txt"
    file.write_text("\n".join(f"글 {number}" for number in range(300)), "utf-8")
    client.fails_at = "글 299"
    assert main(["search", "q", "--in", str(file)]) == 1
    assert f"line 300 of {file}: zu lang" in " ".join(capsys.readouterr().err.split())


def test_nothing_to_search_is_wrong_usage(capsys):
    assert main(["search", "q"]) == 2
    assert "--in FILE" in capsys.readouterr().err
