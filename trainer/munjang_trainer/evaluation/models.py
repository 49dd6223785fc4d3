"""The model under evaluation, loaded as the server and the worker load it: a folder, or a version of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import ConfigurationError
from munjang.publishing.describe import calibrate
from munjang.registry.fetch import fetch
from munjang.registry.layout import ALIAS_PATTERN, number_of
from munjang.registry.store import Registry

if TYPE_CHECKING:
    from munjang.encoder.load import SentenceEncoder
    from munjang.registry.layout import Manifest
    from munjang.settings import TrainerSettings


VERSION_PREFIX = "version:"


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model.

    Attributes:
        name: as results name it.
        folder: where its files are.
        encoder: what encodes.
        int8_scale: its calibration: the published one, or for a folder the one that publishing would compute.
    """

    name: str
    folder: Path
    encoder: SentenceEncoder
    int8_scale: float


def resolve_model(name: str, settings: TrainerSettings) -> tuple[Path, str, Manifest | None]:
    """The folder, the full name and, if it is published, the manifest of a folder, a version number or an alias.

    A folder comes before an alias of the same name; `version:NAME` always means the registry.

    Raises:
        ConfigurationError: neither.
        VersionNotFound: no such version or alias.
    """
    if not name.startswith(VERSION_PREFIX) and Path(name).is_dir():
        return Path(name), name, None
    wanted = name.removeprefix(VERSION_PREFIX)
    if not (number_of(wanted) or ALIAS_PATTERN.fullmatch(wanted)):
        msg = f"{name!r} is neither a folder nor a version or alias of the registry"
        raise ConfigurationError(msg, field="model")
    registry = Registry(settings.registry_url)
    version = registry.resolve(wanted)
    folder = fetch(registry, version, settings.cache_folder, most=settings.cache_versions)
    return folder, f"version {version}", registry.manifest(version)


def open_model(name: str, settings: TrainerSettings) -> LoadedModel:
    """Load what `resolve_model` finds, as the settings say.

    Raises:
        ConfigurationError, VersionNotFound: there is none.
        ModelLoadFailed: it cannot be loaded.
    """
    folder, full_name, manifest = resolve_model(name, settings)
    scale = manifest.int8_scale if manifest else 0.0
    options = LoadOptions(
        device=settings.device,
        compute_type=settings.compute_type,
        runtime=settings.runtime,
        threads=settings.threads,
        int8_scale=scale,
        alone=manifest is not None and manifest.alone,
    )
    encoder = load_encoder(folder, options)
    return LoadedModel(full_name, folder, encoder, scale or calibrate(encoder))
