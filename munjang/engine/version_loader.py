"""Loads one version: fetch and verify its files, convert it if needed, load it, compare it with its probes, warm it.

On a CPU a model is converted once, and its export is kept in the cache. If an export gives wrong vectors, it is made
again, once. If the model cannot be converted, or a fresh export is wrong too, the reason is recorded, and torch runs
the version. It is not converted again until its files or the libraries change.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from munjang.encoder.encode import DEFAULT_BUDGET
from munjang.encoder.load import LoadOptions, computes_in_bfloat16, load_encoder, runs_on_cpu
from munjang.engine.contract import VersionState
from munjang.engine.conversion import ModelConverter
from munjang.engine.preflight import LEAST_AGREEMENT, LEAST_COSINE, probe, warm
from munjang.engine.throttled_encoder import BUDGET, ThrottledEncoder
from munjang.errors import ModelError, ProbeMismatch, UnsupportedModel
from munjang.kinds import ModelKind
from munjang.registry import fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from munjang.encoder.contract import Encoder
    from munjang.registry import Registry
    from munjang.registry.layout import Manifest
    from munjang.settings import EngineSettings

EXPORT_FORM = 6
"""What an export takes and gives; another number for every change, so that older ones are made again."""

LIBRARIES = ("munjang", "openvino", "sentence-transformers", "tokenizers", "torch", "transformers")
"""What decides the vectors of an export."""

_log = logging.getLogger(__name__)


class VersionLoader:
    """Loads versions of one registry as the settings say. Call it from one thread at a time.

    Args:
        registry: where they are.
        settings: how they run.
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
        self._converter = ModelConverter()
        self._loaded: WeakValueDictionary[int, Encoder] = WeakValueDictionary()

    def __call__(
        self, version: int, progress: Callable[[VersionState], None] = lambda _: None
    ) -> tuple[Manifest, Encoder]:
        """Return a version's manifest and an encoder that is ready to serve; `progress` is told when it begins to warm.

        Raises:
            RegistryError: the files are not what was published, or cannot be fetched.
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
            warm(*self._throttled(encoder, self._settings.batch_tokens), self._longest)
            encoder.tidy()
        except BaseException:
            encoder.close()
            raise
        self._loaded[version] = encoder
        return manifest, encoder

    def stop(self) -> None:
        """Stop converting, now and from now on; may be called from any thread."""
        self._converter.stop()

    @property
    def _beside_others(self) -> bool:
        """Whether versions that were loaded before are in use, so a load must leave them the processor."""
        return bool(self._loaded)

    def _throttled(self, encoder: Encoder, budget: int) -> tuple[Encoder, int]:
        """The encoder to probe and warm, and the most tokens of a batch; throttled if others serve."""
        return (ThrottledEncoder(encoder), min(budget, BUDGET)) if self._beside_others else (encoder, budget)

    def _load(self, folder: Path, manifest: Manifest) -> Encoder:
        """Load and probe; a cached export that is wrong is deleted and made again, unless a fresh one was wrong."""
        export = self._settings.cache_folder / "exports" / _key(manifest, EXPORT_FORM, _release("openvino"))
        refusal = self._refusal(manifest)
        attempt = _Attempt(export, refusal)
        if export.exists():
            try:
                encoder = self._fastest(folder, manifest, attempt)
            except ModelError as error:
                if not attempt.refused:
                    _log.warning("the export of version %d is made again: %s", manifest.version, error)
                shutil.rmtree(export, ignore_errors=True)
            else:
                with suppress(OSError):  # a read-only cache
                    refusal.unlink(missing_ok=True)
                return encoder
        try:
            return self._fastest(folder, manifest, attempt)
        except ModelError as error:
            if not (attempt.converted and attempt.wrong):
                raise
            attempt.refuse(f"its fresh export is wrong: {error}")
            shutil.rmtree(export, ignore_errors=True)
        return self._fastest(folder, manifest, attempt)

    def _refusal(self, manifest: Manifest) -> Path:
        """The note that OpenVINO cannot run the version with these libraries and settings; it holds the reason."""
        settings = self._settings
        how = (settings.device, settings.compute_type, settings.runtime, EXPORT_FORM, *map(_release, LIBRARIES))
        expected = (manifest.dimensions, *(probe.vector for probe in manifest.probes))
        return settings.cache_folder / "rejected" / _key(manifest, *how, *expected)

    def _fastest(self, folder: Path, manifest: Manifest, attempt: _Attempt) -> Encoder:
        """By the setting; where that leaves the choice, in the fastest number format that works.

        A format works that gives the recorded vectors. Whatever else goes wrong in one, the next is tried.
        """

        def convert(folder: Path, options: LoadOptions) -> None:
            if attempt.refused:
                raise UnsupportedModel(attempt.refused)
            attempt.converted = True
            try:
                self._converter.convert(folder, options, gently=self._beside_others)
            except UnsupportedModel as error:
                attempt.refuse(str(error))
                raise

        settings = self._settings
        options = LoadOptions(
            device=settings.device,
            compute_type=settings.compute_type,
            runtime=settings.runtime,
            threads=settings.threads,
            int8_scale=manifest.int8_scale,
            export=attempt.export,
            exports_kept=settings.cache_versions,
            interactive=self._interactive,
            converter=convert,
            alone=manifest.alone,
            kind=manifest.kind,
        )
        too_far = attempt.export / "bfloat16-is-too-far"
        if settings.compute_type != "auto":
            return self._probed(folder, manifest, attempt, options)
        try:
            exact = manifest.kind is ModelKind.CROSS_ENCODER  # a score in bfloat16 has three digits
            if not exact and computes_in_bfloat16(options) and not too_far.exists():
                fast = replace(options, compute_type="bfloat16", runtime="openvino")
                return self._probed(folder, manifest, attempt, fast, LEAST_COSINE["float32"])
            if not runs_on_cpu(options):
                return self._probed(folder, manifest, attempt, options)
        except Exception as error:  # noqa: BLE001 - whatever it is, float32 is not held to it
            if isinstance(error, ProbeMismatch):
                with suppress(OSError):  # without this note the next load tries again
                    too_far.touch()
            why = f"{type(error).__name__}: {error}"  # not the error itself, whose frames hold the encoder in memory
            _log.warning("version %d is loaded in float32; in the faster number format %s", manifest.version, why)
        return self._probed(folder, manifest, attempt, replace(options, compute_type="float32"))

    def _probed(
        self, folder: Path, manifest: Manifest, attempt: _Attempt, options: LoadOptions, least: float | None = None
    ) -> Encoder:
        """Load, and compare with the recorded vectors; `least`: the cosine to keep to, else by the number format."""
        attempt.wrong = False
        encoder = load_encoder(folder, options)
        if encoder.info.max_tokens < manifest.max_tokens:
            limits = (manifest.version, manifest.max_tokens, encoder.info.max_tokens)
            _log.warning("version %d was published for texts of %d tokens; it has positions for %d", *limits)
        try:
            if least is None:
                scores = manifest.kind is ModelKind.CROSS_ENCODER
                least = (LEAST_AGREEMENT if scores else LEAST_COSINE)[encoder.compute_type]
            throttled, budget = self._throttled(encoder, DEFAULT_BUDGET)
            attempt.wrong = encoder.runtime != "torch"  # until its vectors were found right
            near = probe(throttled, manifest, least=least, budget=budget)
            attempt.wrong = False
        except BaseException:
            encoder.close()
            raise
        told = (manifest.version, encoder.runtime, encoder.compute_type, near)
        _log.info("version %d runs by %s in %s: likeness to what was recorded at least %.5f", *told)
        return encoder


@dataclass
class _Attempt:
    """One attempt to load a version.

    Attributes:
        export: where its export is kept.
        note: the file that says why OpenVINO cannot run it.
        converted: whether the model was converted.
        wrong: whether the export was loaded, but failed its probes.
        refused: what the note says.
    """

    export: Path
    note: Path
    converted: bool = False
    wrong: bool = False
    refused: str = field(init=False)

    def __post_init__(self) -> None:
        self.refused = _text(self.note)

    def refuse(self, reason: str) -> None:
        """Remember why OpenVINO cannot run the version, here and for later loads."""
        self.refused = reason
        _log.error("the model is not converted again while %s exists: %s", self.note, reason)
        with suppress(OSError):  # without the note the next load converts again
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(reason, "utf-8")


def _text(file: Path) -> str:
    """What a file holds; nothing if there is none."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _key(manifest: Manifest, *parts: object) -> str:
    """A name that depends on the files of the version and on the other parts."""
    files = "".join(f"{entry.path}:{entry.sha256};" for entry in manifest.files)
    head = "".join(f"{part};" for part in parts)
    return hashlib.sha256(f"{head}{files}".encode()).hexdigest()[:32]


def _release(library: str) -> str:
    try:
        return version_of(library)
    except PackageNotFoundError:
        return "none"
