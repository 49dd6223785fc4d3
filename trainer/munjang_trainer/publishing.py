"""A run's model becomes a version: gate, card, registry, alias. Publishing the same model twice publishes nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from munjang.publishing import Lineage, publish_model
from munjang.registry.store import Registry
from munjang_trainer.gate import GATE_FILE, check_run
from munjang_trainer.model.base import full_base_name
from munjang_trainer.model_card import write_card
from munjang_trainer.output_files import MODEL, folder_sha256, write_atomically
from munjang_trainer.recipe.load import load_recipe
from munjang_trainer.starter.publish import find_version
from munjang_trainer.training.run import RECIPE, RECORD, read_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from munjang.settings import TrainerSettings
    from munjang_trainer.gate import GateResult
    from munjang_trainer.recipe.schema import Recipe
    from munjang_trainer.training.run import TrainingRecord


CONTENT = "content"
"""The key of `provenance` that identifies a version's model: the sha256 of its weights."""


class Published(NamedTuple):
    """The result of publishing a run.

    Attributes:
        version: its number.
        new: whether it was published now, or found published.
        promoted: the alias that names it now, or "".
        verdict: the gate's verdict.
    """

    version: int
    new: bool
    promoted: str
    verdict: GateResult


def publish_run(
    run: Path,
    settings: TrainerSettings,
    *,
    promote: bool,
    force: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Published:
    """Publish the model of a finished run if the gate passes it.

    Args:
        run: the run's folder.
        settings: where the registry is.
        promote: point the recipe's alias at the version.
        force: publish even what the gate refuses.
        tell: takes a sentence that says what is done now.

    Raises:
        ConfigurationError: the run is not finished.
        GateRefused: the gate refuses it; nothing was published.
        RegistryError: the registry could not store it.
    """
    record = read_record(run)
    recipe = load_recipe(str(run / RECIPE))
    registry = Registry(settings.registry_url)
    tell("measuring the saved model in a fresh process")
    verdict = check_run(run, recipe, record.metrics, settings)
    write_atomically(run / GATE_FILE, verdict.model_dump_json(indent=2))
    if not force:
        verdict.refuse()
    content = folder_sha256(run / MODEL)
    known = find_version(registry, lambda manifest: manifest.provenance.get(CONTENT) == content)
    lineage = lineage_of(recipe, record, verdict, content)
    version = known or _publish(
        run, recipe, record, verdict, lambda folder: publish_model(registry, folder, lineage, tell=tell).version
    )
    if promote:
        registry.promote(recipe.gate.alias, version, by=f"trainer {recipe.name}")
    return Published(version, not known, recipe.gate.alias if promote else "", verdict)


def lineage_of(recipe: Recipe, record: TrainingRecord, verdict: GateResult, content: str) -> Lineage:
    """The manifest's record of how the model was made."""
    metrics = verdict.results.flat() if verdict.results else record.metrics
    return Lineage(
        base_model=full_base_name(record.base),
        recipe=recipe.name,
        metrics=metrics,
        languages=recipe.publish.languages,
        data_fingerprint=record.data_fingerprint,
        matryoshka_dimensions=recipe.trainings[-1].matryoshka if recipe.trainings else (),
        libraries=record.libraries,
        provenance={
            "seed": str(record.seed),
            "code": record.code_version,
            "machine": record.machine,
            "steps": ", ".join(f"{stage.name} {stage.kept_step}" for stage in record.stages),
            "gate": "passed" if verdict.passed else "refused, published by force",
            CONTENT: content,
        },
    )


def _publish(
    run: Path, recipe: Recipe, record: TrainingRecord, verdict: GateResult, publish: Callable[[Path], int]
) -> int:
    """Put the card and the record beside the model, and publish the folder."""
    with tempfile.TemporaryDirectory(prefix="munjang-run-") as temporary:
        folder = Path(temporary) / MODEL
        shutil.copytree(run / MODEL, folder)
        shutil.copyfile(run / RECORD, folder / RECORD)
        write_card(folder / "README.md", run, recipe, record, verdict)
        return publish(folder)
