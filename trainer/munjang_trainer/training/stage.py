"""One stage: from the folder of a model to the folder of a better one. It can be resumed at any time."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from torch.utils.tensorboard import SummaryWriter
from transformers import EarlyStoppingCallback, set_seed
from transformers.integrations import TensorBoardCallback

from munjang_trainer.model.base import add_lora, load_model, merge_lora, save_model
from munjang_trainer.model.transform import centre, merge
from munjang_trainer.output_files import MODEL, write_atomically
from munjang_trainer.training.callbacks import Interrupted, JournalCallback, ProgressBar, StopOnSignal, rewind
from munjang_trainer.training.checkpoints import (
    CheckpointCallback,
    complete_checkpoints,
    load_projections,
    remove_incomplete,
    step_of,
)
from munjang_trainer.training.datasets import prepare_datasets
from munjang_trainer.training.distributed import barrier, is_main_process, main_process_first
from munjang_trainer.training.moving_average import WeightAverage
from munjang_trainer.training.trainer import Trainer, TrainingEvaluator, make_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from sentence_transformers import SentenceTransformer
    from transformers import TrainerCallback

    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import Recipe, StageConfig, TransformConfig
    from munjang_trainer.training.datasets import StageData

START = "start"
"""The folder of the model that training starts from."""

JOURNAL = "journal.jsonl"
DONE = "done.json"


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share.

    Attributes:
        recipe: the whole recipe.
        folder: the run's folder.
        tables, watched: what is trained on, and what is evaluated meanwhile.
        settings: device, registry.
        console: where progress is shown.
    """

    recipe: Recipe
    folder: Path
    tables: Mapping[str, Table]
    watched: Mapping[str, Table]
    settings: TrainerSettings
    console: Console

    @property
    def journal(self) -> Path:
        """The journal: what happened at which step."""
        return self.folder / JOURNAL

    def stage_folder(self, stage: StageConfig | TransformConfig) -> Path:
        """Where a stage keeps its checkpoints and its model."""
        return self.folder / "stages" / stage.name


def train_stage(context: RunContext, stage: StageConfig, start: Path) -> Path:
    """Train one stage, or resume it, or find it done; returns the folder of its model.

    Raises:
        Interrupted: a signal came; a checkpoint was written, and the same call resumes from it.
        TrainingDiverged: a loss or a weight is not finite; the checkpoints before it stay.
        ConfigurationError: the stage cannot be trained as the recipe says.
    """
    folder = context.stage_folder(stage)
    if (folder / MODEL).is_dir():
        return folder / MODEL
    with main_process_first():
        folder.mkdir(parents=True, exist_ok=True)
        remove_incomplete(folder)
    barrier()
    set_seed(context.recipe.seed)
    model = _load(context, start)
    data = prepare_datasets(
        context.recipe,
        stage,
        context.tables,
        model,
        folder=folder,
        start=context.folder / START,
        settings=context.settings,
    )
    if context.recipe.model.lora:
        add_lora(model, context.recipe.model.lora)
    trainer = _run(context, stage, model, data)
    if is_main_process():
        _finish(stage, folder, start, trainer, lora=context.recipe.model.lora is not None)
    barrier()
    return folder / MODEL


def transform(context: RunContext, stage: TransformConfig, start: Path) -> Path:
    """A stage without training: `merge` or `centre`; returns the folder of its model.

    Raises:
        ConfigurationError: the model cannot be changed so.
    """
    folder = context.stage_folder(stage)
    if not (folder / MODEL).is_dir() and is_main_process():
        model = load_model(start)
        if stage.merge:
            merge(model, load_model(context.folder / START), stage.merge.share)
        if stage.centre:
            texts = [text for table in context.tables.values() for text in table.texts()]
            centre(model, texts, stage.centre.share, stage.centre.texts, context.recipe.seed)
        _write(stage.name, folder, model, steps=0, kept=0)
    barrier()
    return folder / MODEL


def _load(context: RunContext, start: Path) -> SentenceTransformer:
    model = load_model(start)
    if context.recipe.model.dropout is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = context.recipe.model.dropout
    return model


def _prompt(model: SentenceTransformer) -> str:
    return str(model.prompts.get(model.default_prompt_name or "", ""))


def _run(context: RunContext, stage: StageConfig, model: SentenceTransformer, data: StageData) -> Trainer:
    folder = context.stage_folder(stage)
    seed, device, evaluates = context.recipe.seed, context.settings.device, bool(context.watched)
    arguments = make_arguments(stage, folder, seed=seed, prompts=data.prompts, device=device, evaluates=evaluates)
    bar, interrupt = ProgressBar(context.console, stage.name), StopOnSignal()
    resumed = next(reversed(complete_checkpoints(folder)), None)
    average = WeightAverage(stage.average, resumed) if stage.average else None
    callbacks: list[TrainerCallback] = [average] if average else []
    callbacks += [CheckpointCallback(stage.keep_checkpoints, data.losses), JournalCallback(context.journal, stage.name)]
    if is_main_process():
        callbacks.append(TensorBoardCallback(SummaryWriter(str(context.folder / "tensorboard" / stage.name))))
    if stage.patience:
        callbacks.append(EarlyStoppingCallback(stage.patience))
    callbacks += [bar, interrupt]
    trainer = Trainer(
        stage=stage.name,
        sampled=data.sampled,
        model=model,
        args=arguments,
        train_dataset=data.datasets,
        loss=data.losses,
        evaluator=TrainingEvaluator(context.watched, _prompt(model)) if context.watched else None,
        callbacks=callbacks,
    )
    if resumed:
        load_projections(resumed, data.losses)
    if is_main_process():
        rewind(context.journal, stage.name, step_of(resumed) if resumed else 0)
    try:
        with interrupt:
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    finally:
        bar.close()
    if interrupt.received:
        msg = f"stopped in stage {stage.name!r} after step {trainer.state.global_step}: run the same command to go on"
        raise Interrupted(msg, interrupt.received)
    if average:
        average.take(model)
    return trainer


def _finish(stage: StageConfig, folder: Path, start: Path, trainer: Trainer, *, lora: bool) -> None:
    """Write the stage's model: a kill before the last step leaves the checkpoints, which give the same model again."""
    work = folder / f".additions.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    kept = trainer.state.global_step
    if stage.keep == "best" and trainer.state.best_model_checkpoint:
        best = Path(trainer.state.best_model_checkpoint)
        kept = step_of(best)
        trainer._load_from_checkpoint(str(best))  # noqa: SLF001 - load_best_model_at_end would swallow a failure
    model = trainer.model.cpu()
    if lora:
        model = merge_lora(start, model, work)
    _write(stage.name, folder, model, steps=trainer.state.global_step, kept=kept)
    shutil.rmtree(work, ignore_errors=True)


def _write(name: str, folder: Path, model: SentenceTransformer, *, steps: int, kept: int) -> None:
    """Write a stage's model and, before it appears, what was done."""
    work = folder / f".{MODEL}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    save_model(model, work)
    write_atomically(folder / DONE, json.dumps({"name": name, "steps": steps, "kept_step": kept}))
    work.rename(folder / MODEL)
