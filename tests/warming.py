"""Exports made before programs need them, in this process: one that converts takes seconds to import its libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from munjang.engine.conversion import ModelConverter
from munjang.engine.version_loader import VersionLoader
from munjang.settings import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path

    from munjang.encoder.load import LoadOptions
    from munjang.registry import Registry

CACHE_VERSIONS = 32
"""How many versions all programs keep in the cache that they share: none is dropped."""


def convert_here(_: ModelConverter, folder: Path, options: LoadOptions, *, gently: bool) -> None:
    """Convert as `ModelConverter.convert` does, without a process."""
    from munjang.encoder.openvino_runtime.convert import convert  # noqa: PLC0415 - seconds of import, which few tests need

    convert(folder, options)


def warm(registry: Registry, cache: Path) -> None:
    """Load every version of a registry once, so that a cache has its files and its export."""
    loader = VersionLoader(registry, EngineSettings(cache=str(cache), cache_versions=CACHE_VERSIONS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelConverter, "convert", convert_here)
        for version in registry.versions():
            loader(version)[1].close()
