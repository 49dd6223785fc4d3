"""A tiny real model to publish, in the forms in which models come."""

from __future__ import annotations

import shutil

import huggingface_hub.constants
import pytest

from munjang.registry import Registry
from munjang.testing_models import tiny_model
from tests.hubs import cache_model


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("pristine") / "model", prompts={"query": "질문: "})


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pristine, tmp_path / "model")


@pytest.fixture
def plain(pristine, tmp_path):
    """The same as a plain transformer's folder: nothing in it says a pooling."""
    return shutil.copytree(pristine.with_name("model-bare"), tmp_path / "plain")


@pytest.fixture
def registry(tmp_path):
    return Registry(str(tmp_path / "registry"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Put a folder into an empty cache of the hub, which is out of reach."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(name, folder, **options):
        return cache_model(cache, name, folder, **options)

    return put
