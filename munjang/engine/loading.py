"""One version on its way to serving: fetch and verify its files, load, check against its probes, warm."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from munjang.encoder.encode import DEFAULT_BUDGET
from munjang.encoder.load import LoadOptions, computes_in_bfloat16, load_encoder
from munjang.engine.contract import VersionState
from munjang.engine.converting import ConvertingProcess
from munjang.engine.probing import LEAST, probe
from munjang.engine.resting import BUDGET, Resting
from munjang.engine.warming import warm
from munjang.errors import ModelError, ProbeMismatch
from munjang.registry import fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang.encoder.contract import Encoder
    from munjang.registry import Registry
    from munjang.registry.layout import Manifest
    from munjang.settings import EngineSettings

EXPORT_FORM = 4
"""What an export takes and gives; another number for every change, so that older ones are made anew."""

_log = logging.getLogger(__name__)


class VersionLoader:
    """Loads versions of one registry as the settings say. Call it from one thread at a time.

    Args:
        registry: where they are.
        settings: how they shall run.
        interactive: whether callers wait for single texts; see `LoadOptions.interactive`.
        longest: seconds of the longest forward that will be asked for.
    """

    def __init__(
        self, registry: Registry, settings: EngineSettings, *, interactive: bool = False, longest: float = math.inf
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._interactive = interactive
        self._longest = longest
        self._converting = ConvertingProcess()
        self._loaded: WeakValueDictionary[int, Encoder] = WeakValueDictionary()

    def __call__(
        self, version: int, progress: Callable[[VersionState], None] = lambda _: None
    ) -> tuple[Manifest, Encoder]:
        """Return a version's manifest and an encoder that is ready to serve; `progress` is told when it begins to warm.

        Raises:
            RegistryError: the files are not what was published, or cannot be had.
            ModelError: the files are right, but the model cannot serve.
            ConfigurationError: the machine lacks what the settings ask for.
        """
        manifest = self._registry.manifest(version)
        folder = fetch(
            self._registry,
            version,
            self._settings.cache_folder,
            most=self._settings.cache_versions,
            loaded=set(self._loaded),
        )
        encoder = self._load(folder, manifest)
        try:
            progress(VersionState.WARMING)
            warm(*self._at_ease(encoder, self._settings.batch_tokens), self._longest)
            encoder.tidy()
        except BaseException:
            encoder.close()
            raise
        self._loaded[version] = encoder
        return manifest, encoder

    def stop(self) -> None:
        """Give up converting, now and from now on; may be called from any thread."""
        self._converting.stop()

    @property
    def _beside_others(self) -> bool:
        """Whether versions that were loaded before are in use, so that a load must not take the machine from them."""
        return bool(self._loaded)

    def _at_ease(self, encoder: Encoder, budget: int) -> tuple[Encoder, int]:
        """The encoder to probe and warm, and tokens of its batches: with rests between small ones beside others."""
        return (Resting(encoder), min(budget, BUDGET)) if self._beside_others else (encoder, budget)

    def _load(self, folder: Path, manifest: Manifest) -> Encoder:
        """Load and probe; a cached export that is not right is dropped and made anew, once."""
        export = self._settings.cache_folder / "exports" / _export_name(manifest)
        if export.exists():
            try:
                return self._fastest(folder, manifest, export)
            except ModelError as error:
                _log.warning("the export of version %d is made anew: %s", manifest.version, error)
                shutil.rmtree(export, ignore_errors=True)
        return self._fastest(folder, manifest, export)

    def _fastest(self, folder: Path, manifest: Manifest, export: Path) -> Encoder:
        """By the setting, or in the shorter number format if that gives the recorded vectors, else in float32."""
        settings = self._settings
        options = LoadOptions(
            device=settings.device,
            compute_type=settings.compute_type,
            runtime=settings.runtime,
            threads=settings.threads,
            int8_scale=manifest.int8_scale,
            export=export,
            exports_kept=settings.cache_versions,
            interactive=self._interactive,
            converter=partial(self._converting.convert, gently=self._beside_others),
        )
        too_far = export / "bfloat16-is-too-far"
        if settings.compute_type == "auto" and not too_far.exists() and computes_in_bfloat16(options):
            try:
                return self._probed(folder, manifest, replace(options, compute_type="bfloat16"), LEAST["float32"])
            except ProbeMismatch as error:
                with suppress(OSError):  # without this note the next load tries again
                    too_far.touch()
                _log.info("version %d runs in float32, for in bfloat16 %s", manifest.version, error)
        return self._probed(folder, manifest, options)

    def _probed(self, folder: Path, manifest: Manifest, options: LoadOptions, least: float | None = None) -> Encoder:
        """Load, and compare with the recorded vectors; `least`: the cosine to keep to, else by the number format."""
        encoder = load_encoder(folder, options)
        try:
            least = LEAST[encoder.compute_type] if least is None else least
            eased, budget = self._at_ease(encoder, DEFAULT_BUDGET)
            cosine = probe(eased, manifest, least=least, budget=budget)
        except BaseException:
            encoder.close()
            raise
        told = (manifest.version, encoder.runtime, encoder.compute_type, cosine)
        _log.info("version %d runs by %s in %s: cosine to its recorded vectors at least %.5f", *told)
        return encoder


def _export_name(manifest: Manifest) -> str:
    """A name that differs for other files, another form of exports and another release of the exporting library."""
    files = "".join(f"{entry.path}:{entry.sha256};" for entry in manifest.files)
    try:
        release = version_of("openvino")
    except PackageNotFoundError:
        release = "none"
    return hashlib.sha256(f"{EXPORT_FORM};{release};{files}".encode()).hexdigest()[:32]
