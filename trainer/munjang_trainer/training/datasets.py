"""The training data of a stage: each dataset with its loss, its prompts, mined hard negatives, a teacher's vectors."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import mine_hard_negatives, pairwise_cos_sim

from munjang.encoder.postprocess import normalized
from munjang.errors import ConfigurationError
from munjang_trainer.model.base import load_base_model, load_model
from munjang_trainer.training.distributed import main_process_first, world_size
from munjang_trainer.training.prompts import prompt_of
from munjang_trainer.training.ranking_distillation import RankingDistillLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from munjang.kinds import Role
    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import (
        DatasetConfig,
        Loss,
        MiningConfig,
        Recipe,
        StageConfig,
        TeacherConfig,
    )


GROUP = "group"
LABEL = "label"
START = "start"
"""The teacher that is the model which training starts from."""

RANKING = frozenset({"mnrl", "cached-mnrl", "gist", "distill-ranking"})
"""Losses that take the other rows of a batch as negatives: no text may be in it twice."""


class StageData(NamedTuple):
    """Datasets, what must not repeat in a batch, losses, and prompts by column; each by the name of its source."""

    datasets: DatasetDict
    sampled: dict[str, DuplicateKeys]
    losses: dict[str, nn.Module]
    prompts: dict[str, dict[str, str]]


class Teacher(NamedTuple):
    """A loaded teacher and the prompt of texts without a role."""

    model: SentenceTransformer
    prompt: str


def prepare_datasets(
    recipe: Recipe,
    stage: StageConfig,
    tables: Mapping[str, Table],
    model: SentenceTransformer,
    *,
    folder: Path,
    start: Path,
    settings: TrainerSettings,
) -> StageData:
    """Make the data of a stage; slow parts are kept in `folder` for the next start.

    Args:
        recipe: for the roles of columns.
        stage: what to make.
        tables: rows by source.
        model: what is trained.
        folder: the stage's.
        start: the folder of the model that training started from, for a teacher of that name.
        settings: where the registry is.

    Raises:
        ConfigurationError: a teacher cannot be loaded, or no negatives are found.
    """
    datasets: dict[str, Dataset] = {}
    sampled: dict[str, DuplicateKeys] = {}
    by_name: dict[str, nn.Module] = {}
    prompts: dict[str, dict[str, str]] = {}
    for name, part in stage.datasets.items():
        table, roles = tables[name], recipe.roles(name, part)
        kept = folder / f"material-{name}.parquet"
        data = to_dataset(table)
        if part.mine is not None:
            mined = partial(mine, table, model, part.mine, roles)
            data = _kept(kept.with_name(f"mined-{name}.parquet"), mined)
        if stage.sampler == "no-duplicates" and part.loss in RANKING:
            sampled[name] = duplicate_keys_of_texts(data) if part.mine else duplicate_keys(table)
        teacher = _teacher(part.teacher, kept.with_suffix(".teacher"), start, settings) if part.teacher else None
        if teacher and part.loss != "gist":
            data = _kept(kept, partial(teach, data, teacher, roles, part.loss))
        datasets[name] = data
        prompts[name] = {
            column: prompt_of(model, roles.get(_kind_of_column(column)))
            for column in data.column_names
            if column not in {LABEL, "score"}
        }
        by_name[name] = make_loss(model, part, stage.matryoshka, _width(data), teacher.model if teacher else None)
    return StageData(DatasetDict(datasets), sampled, by_name, prompts)


def _kind_of_column(column: str) -> str:
    """`negative` for negative_1, negative_2…: roles are given for all of them."""
    return "negative" if column.startswith("negative") else column


def _width(data: Dataset) -> int:
    """The number of dimensions of a teacher's vectors; 0 without a teacher."""
    if LABEL not in data.column_names:
        return 0
    label = data[0][LABEL]
    return len(label[0]) if isinstance(label[0], list) else len(label)


def _teacher(part: TeacherConfig, work: Path, start: Path, settings: TrainerSettings) -> Teacher:
    model = load_model(start) if part.base == START else load_base_model(part.base, work, settings)
    if part.prompt and part.prompt not in model.prompts:
        msg = f"the teacher has no prompt {part.prompt!r}; it has {', '.join(model.prompts) or 'none'}"
        raise ConfigurationError(msg, field="stages.datasets.teacher.prompt")
    return Teacher(model, str(model.prompts.get(part.prompt or model.default_prompt_name or "", "")))


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


def mine(pairs: Table, model: SentenceTransformer, part: MiningConfig, roles: Mapping[str, Role]) -> Dataset:
    """Pairs with columns negative_1, negative_2… added; pairs without enough negatives are left out.

    Without roles, all texts of a pair's group count as having the same meaning, so a paraphrase that is not paired with
    the anchor is never used as a negative. With roles, queries are searched among documents only.

    Raises:
        ConfigurationError: no pair is left.
    """
    members: dict[str, dict[str, None]] = defaultdict(dict)
    for anchor, positive, group in pairs.rows:
        members[group] |= dict.fromkeys((anchor, positive))
    if roles:  # a query is no document: only its own documents are like it
        alike = [(anchor, positive) for anchor, positive, _ in pairs.rows]
    else:
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
            query_prompt=prompt_of(model, roles.get("anchor")),
            corpus_prompt=prompt_of(model, roles.get("positive")),
            verbose=False,
        )
    wanted = {(anchor, positive) for anchor, positive, _ in pairs.rows}
    rows = [row for row in mined if (row["anchor"], row["positive"]) in wanted]
    if not rows:
        msg = "no hard negatives were found: raise mine.nearest or lower mine.relative_margin"
        raise ConfigurationError(msg, field="stages.datasets.mine")
    return Dataset.from_list(rows)


def teach(data: Dataset, teacher: Teacher, roles: Mapping[str, Role], loss: Loss) -> Dataset:
    """The rows with the teacher's judgement as label.

    `distill` gets each different text once, as column `text`, with its vector, unless columns have roles. With roles,
    and for `distill-ranking`, the label of a row is the vectors of its texts, float32 [columns, d]. `margin-mse` gets
    the differences of similarity between the positive and each negative, float32 [negatives].

    Raises:
        ConfigurationError: the teacher gives values that are not finite.
    """
    columns = {name: list(data[name]) for name in data.column_names if name != "score"}
    if loss == "distill" and not roles:
        texts = list(dict.fromkeys(text for row in zip(*columns.values(), strict=True) for text in row))
        return Dataset.from_dict({"text": texts, LABEL: list(_vectors(teacher, texts, None))})
    vectors = [_vectors(teacher, texts, roles.get(_kind_of_column(name))) for name, texts in columns.items()]
    if loss == "margin-mse":
        anchor, positive, *negatives = (normalized(each) for each in vectors)
        right = (anchor * positive).sum(1)
        labels = [right - (anchor * negative).sum(1) for negative in negatives]
        return Dataset.from_dict({**columns, LABEL: np.stack(labels, axis=1).tolist()})
    return Dataset.from_dict({**columns, LABEL: np.stack(vectors, axis=1).tolist()})


def _vectors(teacher: Teacher, texts: Sequence[str], role: Role | None) -> NDArray[np.float32]:
    prompt = prompt_of(teacher.model, role) if role else teacher.prompt
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    found: NDArray[np.float32] = teacher.model.encode(
        list(places), prompt=prompt, convert_to_numpy=True, show_progress_bar=False, batch_size=32
    ).astype(np.float32)
    if not np.isfinite(found).all():
        msg = "the teacher makes vectors that are not finite (NaN or infinity)"
        raise ConfigurationError(msg, field="stages.datasets.teacher")
    return found[rows]


def make_loss(
    model: SentenceTransformer,
    dataset: DatasetConfig,
    matryoshka: tuple[int, ...],
    teacher_dimensions: int = 0,
    guide: SentenceTransformer | None = None,
) -> nn.Module:
    """The loss of one dataset; with `matryoshka` it is also computed on those leading dimensions.

    With several processes, each takes the texts of all as negatives.

    Distillation of vectors always uses the whole vector of the teacher. If the student's has another length, it is
    projected to that length during training.
    """
    if dataset.loss == "distill" and dataset.teacher is not None:
        own = model.get_embedding_dimension()
        projection = teacher_dimensions if teacher_dimensions != own else None
        return losses.EmbedDistillLoss(model, distance_metric=dataset.teacher.metric, projection_dim=projection)
    loss = _plain(model, dataset, guide)
    full = model.get_embedding_dimension() or 0
    shorter = tuple(cut for cut in matryoshka if cut < full)
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=[full, *shorter]) if shorter else loss


def _plain(model: SentenceTransformer, dataset: DatasetConfig, guide: SentenceTransformer | None) -> nn.Module:
    gather = world_size() > 1
    ranking: dict[str, Any] = {
        "scale": dataset.scale,
        "directions": ("query_to_doc", "doc_to_query") if dataset.symmetric else ("query_to_doc",),
        "partition_mode": "per_direction" if dataset.symmetric else "joint",
        "gather_across_devices": gather,
    }
    cached = {"mini_batch_size": dataset.mini_batch}
    makers: dict[Loss, Callable[[], nn.Module]] = {
        "mnrl": lambda: losses.MultipleNegativesRankingLoss(model, **ranking),
        "cached-mnrl": lambda: losses.CachedMultipleNegativesRankingLoss(model, **ranking, **cached),
        "gist": lambda: losses.CachedGISTEmbedLoss(
            model, guide, temperature=1 / dataset.scale, gather_across_devices=gather, **cached
        ),
        "distill-ranking": lambda: RankingDistillLoss(model, dataset.scale, dataset.teacher_scale, dataset.contrast),
        "margin-mse": lambda: losses.MarginMSELoss(model, similarity_fct=pairwise_cos_sim),
        "cosent": lambda: losses.CoSENTLoss(model, scale=dataset.scale),
        "cosine": lambda: losses.CosineSimilarityLoss(model),
    }
    return makers[dataset.loss]()
