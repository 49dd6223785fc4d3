"""Model folders of a few bytes, and a registry on each kind of storage."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest

from munjang.registry import Description, Probe, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a sentence-transformers model."""
    folder = tmp_path / "모델"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "vocab.txt").write_text("문장\n임베딩\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    return folder


@pytest.fixture
def description() -> Description:
    """What a publisher would say of it."""
    return Description(
        dimensions=4,
        max_tokens=128,
        prompts={"query": "질문: "},
        probes=(Probe.of("한국어 문장", np.array([0.5, -1, 0, 2], np.float32)),),
        metrics={"korsts_dev_spearman": 0.85},
    )


@pytest.fixture
def local(tmp_path: Path) -> Registry:
    """A registry in a folder that does not exist yet."""
    return Registry(str(tmp_path / "레지스트리"))


@pytest.fixture
def memory() -> Iterator[Registry]:
    """A registry of objects in memory."""
    name = f"registry-{uuid.uuid4().hex}"
    registry = Registry(f"memory://{name}")
    yield registry
    registry.storage.remove("versions")
    registry.storage.remove("aliases")


@pytest.fixture(params=["local", "memory"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Each kind of registry."""
    return request.getfixturevalue(request.param)
