"""One version on its way to serving: fetch and verify its files, load, check against its probes, warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.engine.contract import VersionState
from munjang.engine.probing import probe
from munjang.engine.warming import warm
from munjang.registry import fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.encoder.contract import Encoder
    from munjang.registry import Registry
    from munjang.registry.layout import Manifest
    from munjang.settings import EngineSettings


class VersionLoader:
    """Loads versions of one registry as the settings say. Call it from one thread at a time."""

    def __init__(self, registry: Registry, settings: EngineSettings) -> None:
        self._registry = registry
        self._settings = settings

    def __call__(
        self, version: int, progress: Callable[[VersionState], None] = lambda _: None
    ) -> tuple[Manifest, Encoder]:
        """Return a version's manifest and an encoder that is ready to serve; `progress` is told when it begins to warm.

        Raises:
            RegistryError: the files are not what was published, or cannot be had.
            ModelError: the files are right, but the model cannot serve.
            ConfigurationError: the machine lacks what the settings ask for.
        """
        from munjang.encoder.load import load_encoder, pick_device, pick_dtype  # noqa: PLC0415 - torch, only where a model runs

        settings = self._settings
        manifest = self._registry.manifest(version)
        folder = fetch(self._registry, version, settings.cache_folder)
        encoder = load_encoder(
            folder,
            device=settings.device,
            compute_type=settings.compute_type,
            threads=settings.threads,
            int8_scale=manifest.int8_scale,
        )
        exact = "float32" in str(pick_dtype(settings.compute_type, pick_device(settings.device)))
        try:
            probe(encoder, manifest, exact=exact)
            progress(VersionState.WARMING)
            warm(encoder, settings.batch_tokens)
        except BaseException:
            encoder.close()
            raise
        return manifest, encoder
