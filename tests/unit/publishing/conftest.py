"""A tiny real model to publish."""

from __future__ import annotations

import shutil

import pytest

from munjang.testing_models import tiny_model


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("pristine") / "model", prompts={"query": "질문: "})


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(pristine, tmp_path / "model")
