"""The training data of a stage: each dataset with its loss, mined hard negatives, a teacher's vectors."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import mine_hard_negatives

from munjang.errors import ConfigurationError
from munjang_trainer.model.base import load_base_model
from munjang_trainer.training.distributed import main_process_first, world_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer
    from torch import nn

    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import DatasetConfig, MiningConfig, StageConfig, TeacherConfig


GROUP = "group"


class StageData(NamedTuple):
    """Datasets, what must not repeat in a batch of them, and losses; each by the name of its source."""

    datasets: DatasetDict
    sampled: dict[str, DuplicateKeys]
    losses: dict[str, nn.Module]


def prepare_datasets(
    stage: StageConfig,
    tables: Mapping[str, Table],
    model: SentenceTransformer,
    *,
    prompt: str,
    folder: Path,
    settings: TrainerSettings,
) -> StageData:
    """Make the data of a stage; slow parts are kept in `folder` for the next start.

    Raises:
        ConfigurationError: a teacher cannot be loaded, or no negatives are found.
    """
    datasets: dict[str, Dataset] = {}
    sampled: dict[str, DuplicateKeys] = {}
    by_name: dict[str, nn.Module] = {}
    for name, part in stage.datasets.items():
        table = tables[name]
        kept = folder / f"material-{name}.parquet"
        if part.mine is not None:
            datasets[name] = _kept(kept, partial(mine, table, model, part.mine, prompt))
        elif part.teacher is not None:
            datasets[name] = _kept(kept, partial(teach, table, part.teacher, kept.with_suffix(".teacher"), settings))
        else:
            datasets[name] = to_dataset(table)
        if stage.sampler == "no-duplicates" and part.loss in {"mnrl", "cached-mnrl"}:
            sampled[name] = duplicate_keys_of_texts(datasets[name]) if part.mine else duplicate_keys(table)
        width = len(datasets[name][0]["label"]) if part.teacher else 0
        by_name[name] = make_loss(model, part, stage.matryoshka, width)
    return StageData(DatasetDict(datasets), sampled, by_name)


def _kept(path: Path, make: Callable[[], Dataset]) -> Dataset:
    """What was made before, or is made now by one process for all of them."""
    with main_process_first():
        if not path.is_file():
            part = path.with_name(f".{path.name}")
            make().to_parquet(str(part))
            part.replace(path)
    return Dataset.from_parquet(str(path), keep_in_memory=True, cache_dir=str(path.parent / ".cache"))


def to_dataset(table: Table) -> Dataset:
    """The columns that a loss reads: texts in order and, for scored pairs, the score."""
    return Dataset.from_dict({name: table.column(name) for name in table.columns if name != GROUP})


class DuplicateKeys:
    """Rows as a sampler compares them: each text, and each group, as a number. Looks like a dataset to samplers.

    Attributes:
        column_names: one name for each number in a row.
    """

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """Number the strings in the rows: equal strings get equal numbers, in every column."""
        known: dict[str, int] = {}
        self._rows = [[known.setdefault(value, len(known)) for value in row] for row in rows]
        self.column_names = [str(position) for position in range(len(self._rows[0]) if self._rows else 0)]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def __getitem__(self, position: int) -> dict[str, int]:
        """One row, by column name."""
        return dict(zip(self.column_names, self._rows[position], strict=True))


def duplicate_keys(table: Table) -> DuplicateKeys:
    """The rows of a table, kept apart in a batch by their texts and, where there are some, by their groups."""
    groups = table.column(GROUP) if GROUP in table.columns else None
    texts = ([row[position] for position in table.text_columns] for row in table.rows)
    if groups is None:
        return DuplicateKeys(list(texts))
    return DuplicateKeys([[*row, f"\x00{group}"] for row, group in zip(texts, groups, strict=True)])


def duplicate_keys_of_texts(dataset: Dataset) -> DuplicateKeys:
    """The rows of a dataset, kept apart in a batch by their texts."""
    return DuplicateKeys([list(row.values()) for row in dataset])


def mine(pairs: Table, model: SentenceTransformer, part: MiningConfig, prompt: str) -> Dataset:
    """Pairs with columns negative_1, negative_2… added; pairs without enough negatives are left out.

    All texts of a pair's group count as having the same meaning, so a paraphrase that is not paired with
    the anchor is never used as a negative.

    Raises:
        ConfigurationError: no pair is left.
    """
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for anchor, positive, group in pairs.rows:
        members[group] |= dict.fromkeys((anchor, positive))
    alike = [(a, b) for texts in members.values() for a in texts for b in texts if a != b]
    dataset = Dataset.from_dict({"anchor": [a for a, _ in alike], "positive": [b for _, b in alike]})
    with contextlib.redirect_stderr(io.StringIO()):  # its bars cannot be turned off
        mined = mine_hard_negatives(
            dataset,
            model,
            range_min=part.skip,
            range_max=part.skip + part.nearest,
            relative_margin=part.relative_margin,
            num_negatives=part.negatives,
            sampling_strategy="top",
            output_format="n-tuple",
            query_prompt=prompt,
            corpus_prompt=prompt,
            verbose=False,
        )
    wanted = {(anchor, positive) for anchor, positive, _ in pairs.rows}
    rows = [row for row in mined if (row["anchor"], row["positive"]) in wanted]
    if not rows:
        msg = "no hard negatives were found: raise mine.nearest or lower mine.relative_margin"
        raise ConfigurationError(msg, field="stages.datasets.mine")
    return Dataset.from_list(rows)


def teach(table: Table, part: TeacherConfig, work: Path, settings: TrainerSettings) -> Dataset:
    """Each different text once, with the teacher's vector as float32 label; `work` is a folder for temporary files.

    Raises:
        ConfigurationError: the teacher has no such prompt, or gives values that are not finite.
    """
    teacher = load_base_model(part.base, work, settings)
    if part.prompt and part.prompt not in teacher.prompts:
        msg = f"the teacher has no prompt {part.prompt!r}; it has {', '.join(teacher.prompts) or 'none'}"
        raise ConfigurationError(msg, field="stages.datasets.teacher.prompt")
    texts = list(dict.fromkeys(table.texts()))
    vectors = teacher.encode(
        texts, prompt_name=part.prompt or None, convert_to_numpy=True, show_progress_bar=False, batch_size=64
    ).astype(np.float32)
    if not np.isfinite(vectors).all():
        msg = "the teacher makes vectors that are not finite (NaN or infinity)"
        raise ConfigurationError(msg, field="stages.datasets.teacher")
    return Dataset.from_dict({"text": texts, "label": list(vectors)})


def make_loss(
    model: SentenceTransformer, dataset: DatasetConfig, matryoshka: tuple[int, ...], teacher_dimensions: int = 0
) -> nn.Module:
    """The loss of one dataset; with `matryoshka` it is also computed on those leading dimensions.

    With several processes, each takes the texts of all as negatives.

    A distillation loss always uses the whole vector of the teacher. If the student's has another length, it is
    projected to that length during training.
    """
    if dataset.teacher is not None:
        own = model.get_embedding_dimension()
        projection = teacher_dimensions if teacher_dimensions != own else None
        return losses.EmbedDistillLoss(model, distance_metric=dataset.teacher.metric, projection_dim=projection)
    loss = _plain(model, dataset)
    full = model.get_embedding_dimension() or 0
    shorter = tuple(cut for cut in matryoshka if cut < full)
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=[full, *shorter]) if shorter else loss


def _plain(model: SentenceTransformer, dataset: DatasetConfig) -> nn.Module:
    ranking: dict[str, Any] = {
        "scale": dataset.scale,
        "directions": ("query_to_doc", "doc_to_query") if dataset.symmetric else ("query_to_doc",),
        "partition_mode": "per_direction" if dataset.symmetric else "joint",
        "gather_across_devices": world_size() > 1,
    }
    match dataset.loss:
        case "mnrl":
            return losses.MultipleNegativesRankingLoss(model, **ranking)
        case "cached-mnrl":
            return losses.CachedMultipleNegativesRankingLoss(model, **ranking, mini_batch_size=dataset.mini_batch)
        case "cosent":
            return losses.CoSENTLoss(model, scale=dataset.scale)
        case "cosine":
            return losses.CosineSimilarityLoss(model)
        case _:
            msg = f"{dataset.loss} needs a teacher"
            raise ValueError(msg)
