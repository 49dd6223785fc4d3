"""A model folder of a few bytes, and processes that act on a registry and can be killed at any of their steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACTOR = Path(__file__).with_name("actor.py")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a sentence-transformers model, of several chunks."""
    folder = tmp_path / "모델"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "model.safetensors").write_bytes(os.urandom(3 << 19))
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the registry will be."""
    return tmp_path / "레지스트리"


@pytest.fixture
def start(root: Path, model: Path, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts an actor in a mode of its own; every one is ended with the test."""
    actors: list[subprocess.Popen[str]] = []

    def start_one(mode: str) -> subprocess.Popen[str]:
        actor = subprocess.Popen(
            [sys.executable, str(ACTOR), mode, str(root), str(model), str(tmp_path / "캐시")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        actors.append(actor)
        return actor

    yield start_one
    for actor in actors:
        actor.kill()
        actor.communicate()
