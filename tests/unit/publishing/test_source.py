"""A model's name is a folder or a hub id, and one place decides which."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo

from munjang.errors import ConfigurationError
from munjang.publishing import find_model
from munjang.publishing.source import find_source, needed
from tests.hubs import COMMIT

OTHER = "f" * 40


def test_a_folder_is_taken_as_it_is(folder):
    source = find_source(str(folder))
    assert (source.folder, source.hub_id, source.revision) == (folder, "", "")
    assert source.size_bytes > (folder / "model.safetensors").stat().st_size


def test_a_folder_wins_over_a_hub_id_and_this_is_said(hub, pristine, tmp_path, monkeypatch):
    hub("nlpai-lab/KURE-v1", pristine)
    (tmp_path / "nlpai-lab" / "KURE-v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    told = []
    source = find_source("nlpai-lab/KURE-v1", tell=told.append)
    assert (source.hub_id, source.folder.resolve()) == ("", tmp_path / "nlpai-lab" / "KURE-v1")
    assert any("is a folder here" in line for line in told)


def test_a_revision_is_not_for_folders(folder):
    with pytest.raises(ConfigurationError, match="is a folder here, and a revision") as caught:
        find_source(str(folder), "main")
    assert caught.value.field == "revision"


@pytest.mark.parametrize("name", ["/no/such/model", "./model", "~/no-such-model", "models/of/mine", "모델/이름", "a b"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(ConfigurationError, match=f"there is no folder {name}"):
        find_source(name)


def test_a_file_is_no_folder(folder):
    with pytest.raises(ConfigurationError, match="is a file: name the folder"):
        find_source(str(folder / "config.json"))


def test_a_hub_id_is_found_in_the_cache_without_a_network(hub, pristine):
    snapshot = hub("nlpai-lab/KURE-v1", pristine)
    told = []
    source = find_source("nlpai-lab/KURE-v1", tell=told.append)
    assert (source.folder, source.hub_id, source.revision) == (snapshot, "nlpai-lab/KURE-v1", COMMIT)
    assert told == [f"nlpai-lab/KURE-v1 of the hub, at commit {COMMIT[:12]}"]


def test_a_revision_is_found_in_the_cache_by_commit_or_branch(hub, pristine):
    hub("ours/model", pristine)
    snapshot = hub("ours/model", pristine, commit=OTHER)
    assert find_source("ours/model", OTHER).folder == snapshot
    assert find_source("ours/model", "main").revision == OTHER
    with pytest.raises(ConfigurationError, match=r"not in the hub's cache .* at revision v2.*hf download ours/model"):
        find_source("ours/model", "v2")


def test_the_catalogues_revision_is_taken_and_else_what_the_cache_has(hub, pristine):
    usual = "d14c8a9423946e268a0c9952fecf3a7aabd73bd9"
    hub("nlpai-lab/KURE-v1", pristine)
    assert find_model("nlpai-lab/KURE-v1").revision == COMMIT
    hub("nlpai-lab/KURE-v1", pristine, commit=usual)
    hub("nlpai-lab/KURE-v1", pristine / "1_Pooling", commit=OTHER)
    assert find_model("nlpai-lab/KURE-v1").revision == usual
    assert find_model("nlpai-lab/KURE-v1", "main").revision == OTHER


def test_a_model_that_is_nowhere_says_where_it_was_looked_for(hub):
    with pytest.raises(ConfigurationError, match=r"no folder here and not in the hub's cache \(.*hub\).*[Oo]ffline"):
        find_source("nobody/no-such-model")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError, "accept them at"),
        (RevisionNotFoundError, "no revision 'v9'"),
        (RepositoryNotFoundError, "HF_TOKEN"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(hub, monkeypatch, error, words):
    def refuse(*_, **__):
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ConfigurationError, match=words):
        find_source("nobody/no-such-model", "v9")


def test_only_what_a_version_holds_is_downloaded(hub, monkeypatch, tmp_path):
    names = ["config.json", "onnx/model.onnx", "pytorch_model.bin", "README.md", "2_Dense/model.safetensors", "x.png"]
    info = ModelInfo(id="ours/model", sha=OTHER, siblings=[{"rfilename": name} for name in names], tags=[])
    asked = {}
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.update(options) or str(tmp_path)
    )
    assert find_source("ours/model").revision == OTHER
    assert asked["revision"] == OTHER
    assert asked["allow_patterns"] == ["2_Dense/model.safetensors", "README.md", "config.json", "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("error", "words"), [(GatedRepoError, "accept them at"), (ValueError, "could not be downloaded")]
)
def test_a_download_that_fails_is_said_with_what_to_do(hub, monkeypatch, error, words):
    def refuse(*_, **__):
        raise error.__new__(error)

    info = ModelInfo(id="ours/model", sha=OTHER, siblings=[], tags=[])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ConfigurationError, match=words):
        find_source("ours/model")


def test_pickles_are_needed_only_where_no_safetensors_are():
    names = ["pytorch_model.bin", "model.safetensors", "2_Dense/pytorch_model.bin", "onnx/pytorch_model.bin"]
    assert needed([*names, "adapter_model.bin", "tf_model.h5", "training_args.bin", "modeling.py"]) == [
        "2_Dense/pytorch_model.bin",
        "model.safetensors",
    ]
