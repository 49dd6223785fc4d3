"""What tests of several rooms share: the real Korean data, and the starter model, converted once a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from trainer.starter.folder import convert
from trainer.starter.source import find_source

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("unhurried", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("unhurried")  # a slow machine is no failure, and CI tries the same cases each time


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real Korean data beside the checkout: a laptop may lack it, CI may not."""
    if not DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{DATA} is missing, and CI is set")
        pytest.skip("the shared Korean data is not beside this checkout")
    return DATA


@pytest.fixture(scope="session")
def starter_folder(tmp_path_factory) -> Path:
    """The starter model as a sentence-transformers folder. Do not write into it."""
    folder = tmp_path_factory.mktemp("starter") / "model"
    convert(find_source(), folder)
    return folder


@pytest.fixture(scope="session")
def starter_registry(tmp_path_factory, starter_folder) -> str:
    """The url of a registry that holds the starter model as version 1, named by `stable`. Do not publish into it."""
    url = str(tmp_path_factory.mktemp("starter-registry"))
    registry = Registry(url)
    manifest = publish_model(registry, starter_folder, Lineage(base_model="intfloat/multilingual-e5-small"))
    registry.promote("stable", manifest.version, "tests")
    return url
