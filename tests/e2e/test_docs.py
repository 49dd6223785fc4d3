"""The Python programs of the rollover page run as they stand, but for the server's address."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from munjang.client import Client
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Two versions with the prompts of the starter model, both served."""
    folder = tmp_path_factory.mktemp("docs")
    registry = Registry(str(folder / "registry"))
    prompts = {"query": "query: ", "passage": "passage: "}
    for seed in (1, 2):
        publish_model(registry, tiny_model(folder / f"model-{seed}", seed=seed, prompts=prompts))
    registry.promote("stable", 1, "tests")
    registry.promote("next", 2, "tests")
    return registry


def programs(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_programs_on_the_page_run(registry, start_server, tmp_path, monkeypatch, capsys):
    server = start_server(registry.url, aliases="stable,next", runtime="torch")
    target = server.target
    monkeypatch.chdir(tmp_path)
    with Client(target) as client:
        client.wait_ready(240)
        server.wait_for("alias moved", alias="next")
        for number, version in ((7, 1), (8, 2)):
            (tmp_path / f"index-{number}").mkdir()
            vectors = client.encode(["환불해 드립니다.", "비가 옵니다.", "회의입니다."], version=version).vectors
            np.save(tmp_path / f"index-{number}" / "part-00000.npy", vectors)
    found = programs("docs/rollover.md")
    assert found
    for program in found:
        ours = program.replace("127.0.0.1:50051", target).replace("(7, 8)", "(1, 2)")
        ours = ours.replace('f"index-{version}"', 'f"index-{version + 6}"')
        exec(compile(ours, "docs/rollover.md", "exec"), {})  # noqa: S102 - our own pages
    assert "version 2 finds" in capsys.readouterr().out
