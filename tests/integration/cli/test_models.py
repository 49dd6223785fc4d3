"""`munjang models`, publishing by name, and every command of docs/models.md, against a cache of the hub."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest

from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.hubs import COMMIT, cache_model

PAGE = Path(__file__).resolve().parents[3] / "docs" / "models.md"


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A tiny model as a plain transformer's folder."""
    made = tiny_model(tmp_path_factory.mktemp("plain") / "model")
    return made.with_name("model-bare")


@pytest.fixture
def hub(tmp_path, monkeypatch, tiny_folder, plain):
    """A cache of the hub with a model of sentence-transformers and a plain one; the hub itself is out of reach."""
    cache = tmp_path / "hub"
    cache_model(cache, "nlpai-lab/KURE-v1", tiny_folder)
    cache_model(cache, "BM-K/KoSimCSE-roberta", plain)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_the_catalogue_is_listed(run):
    names = [entry["name"] for entry in run("models", "list", "--json").json()["models"]]
    assert "nlpai-lab/KURE-v1" in names
    assert "nlpai-lab/KURE-v1" in run("models", "list").out


def test_a_model_is_shown_by_its_name_or_a_part_of_it(run):
    found = run("models", "show", "koe5", "--json").json()
    assert (found["name"], found["prompts"]["query"]) == ("nlpai-lab/KoE5", "query: ")
    assert "munjang versions publish nlpai-lab/KoE5" in run("models", "show", "nlpai-lab/koe5").out


def test_a_name_that_means_several_models_or_none_is_answered_with_names(run):
    done = run("models", "show", "kosimcse")
    assert done.status == 1
    assert "several models have 'kosimcse' in their names; choose one of BM-K/KoSimCSE-roberta" in done.err
    assert "the catalogue has no model 'gpt'" in run("models", "show", "gpt").err


@pytest.mark.usefixtures("hub")
def test_a_hub_id_is_published_from_the_cache_with_its_commit_on_record(run, tmp_path):
    registry = tmp_path / "registry"
    done = run("versions", "publish", "BM-K/KoSimCSE-roberta", "--registry", registry, "--json")
    assert done.json()["provenance"] == {"hub": "BM-K/KoSimCSE-roberta", "revision": COMMIT}
    assert done.json()["base_model"] == "BM-K/KoSimCSE-roberta"
    assert "pooling cls, from the catalogue" in done.err
    assert COMMIT in run("versions", "show", "1", "--registry", registry).out


def test_a_plain_folder_is_published_with_a_pooling_and_refused_without(run, plain, tmp_path):
    registry = tmp_path / "registry"
    done = run("versions", "publish", plain, "--registry", registry)
    assert done.status == 1
    assert "has no pooling" in done.err
    assert "--pooling" in done.err
    assert run("versions", "publish", plain, "--pooling", "cls", "--registry", registry).status == 0
    assert Registry(str(registry)).versions() == [1]


@pytest.mark.parametrize("prompt", ["query", "=text", " =text"])
def test_a_prompt_without_a_name_is_refused(run, tiny_folder, prompt):
    done = run("versions", "publish", tiny_folder, "--prompts", prompt)
    assert done.status == 2
    assert "--prompts takes NAME=TEXT" in done.err


@pytest.mark.usefixtures("hub")
def test_every_command_of_the_page_runs(run, tmp_path, tiny_folder, plain, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, folder in {"my-simcse": plain, "my-e5": plain, "my-model": tiny_folder}.items():
        shutil.copytree(folder, tmp_path / name)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    assert len(commands) >= 7
    for program, *arguments in commands:
        assert program == "munjang"
        done = run(*arguments)
        assert done.status == 0, (arguments, done.err)
    manifest = Registry(str(tmp_path / "집" / "registry")).manifest(4)
    assert manifest.prompts == {"query": "query: ", "document": "passage: "}
