"""What a stage is trained on: each dataset with its loss, its negatives mined, its teacher asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from datasets import Dataset, DatasetDict

from munjang_trainer.model.base import load_named
from munjang_trainer.training.datasets import Distinct, distinct, distinct_texts, to_dataset
from munjang_trainer.training.losses import make_loss
from munjang_trainer.training.mining import mine
from munjang_trainer.training.teaching import teach
from munjang_trainer.training.world import first_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import nn

    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.stages import DatasetPart, StagePart


class Material(NamedTuple):
    """Datasets, what must not repeat in a batch of them, and losses; each by the name of its source."""

    datasets: DatasetDict
    sampled: dict[str, Distinct]
    losses: dict[str, nn.Module]


def gather(
    stage: StagePart,
    tables: Mapping[str, Table],
    model: SentenceTransformer,
    *,
    prompt: str,
    folder: Path,
    settings: TrainerSettings,
) -> Material:
    """Make the material of a stage; what takes long is kept in `folder` for the next start.

    Raises:
        ConfigurationError: a teacher cannot be loaded, or no negatives are found.
    """
    datasets: dict[str, Dataset] = {}
    sampled: dict[str, Distinct] = {}
    losses: dict[str, nn.Module] = {}
    for name, part in stage.datasets.items():
        table = tables[name]
        datasets[name] = _dataset(
            part, table, model, prompt=prompt, kept=folder / f"material-{name}.parquet", settings=settings
        )
        if stage.sampler == "no-duplicates" and part.loss in {"mnrl", "cached-mnrl"}:
            sampled[name] = distinct_texts(datasets[name]) if part.mine else distinct(table)
        width = len(datasets[name][0]["label"]) if part.teacher else 0
        losses[name] = make_loss(model, part, stage.matryoshka, width)
    return Material(DatasetDict(datasets), sampled, losses)


def _dataset(
    part: DatasetPart,
    table: Table,
    model: SentenceTransformer,
    *,
    prompt: str,
    kept: Path,
    settings: TrainerSettings,
) -> Dataset:
    if part.mine is not None:
        mining = part.mine
        return _kept(kept, lambda: mine(table, model, mining, prompt))
    if part.teacher is not None:
        teacher = part.teacher
        work = kept.with_suffix(".teacher")
        return _kept(kept, lambda: teach(table, load_named(teacher.base, work, settings), teacher))
    return to_dataset(table)


def _kept(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """What was made before, or is made now by one process for all."""
    with first_alone():
        if not path.is_file():
            part = path.with_name(f".{path.name}")
            make().to_parquet(str(part))
            part.replace(path)
    return Dataset.from_parquet(str(path), keep_in_memory=True, cache_dir=str(path.parent / ".cache"))
