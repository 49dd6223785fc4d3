"""A whole training in one folder: data, start, stages, the finished model and its record. Each part is made once.

<run>/.munjang-run             marks the folder as a run's, in which the trainer writes and deletes
<run>/recipe.yaml              the recipe with every value
<run>/data/                    what `prepare` wrote
<run>/start/                   the model that training starts from
<run>/stages/<stage>/          checkpoints, and the stage's model when it is done
<run>/journal.jsonl, curves.png, tensorboard/
<run>/model/                   the finished model
<run>/training.json            its record, written last
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict

from munjang.errors import ConfigurationError
from munjang_trainer.data.prepare import prepare, read_evaluation, read_sources
from munjang_trainer.model.base import build_initial_model, load_model
from munjang_trainer.output_files import MODEL, RUN_MARKER, claim_output, write_atomically
from munjang_trainer.plots import draw_curves
from munjang_trainer.provenance import code_version, libraries, machine
from munjang_trainer.recipe.load import dump_recipe, load_recipe
from munjang_trainer.recipe.schema import TransformConfig
from munjang_trainer.training.callbacks import read_journal
from munjang_trainer.training.distributed import (
    barrier,
    destroy_processes,
    init_processes,
    is_main_process,
    main_process_first,
)
from munjang_trainer.training.stage import DONE, START, RunContext, train_stage, transform
from munjang_trainer.training.trainer import TrainingEvaluator

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.schema import Recipe


RECIPE = "recipe.yaml"


def train(recipe: Recipe, folder: Path, settings: TrainerSettings, console: Console) -> TrainingRecord:
    """Train a recipe in a folder, or resume where an earlier call was stopped or killed.

    Raises:
        Interrupted: a signal came; the same call resumes.
        DataLeak: training data holds texts of an evaluation set.
        FolderTaken: the folder holds files that training did not make.
        ConfigurationError: the recipe cannot be trained, or the folder belongs to another one.
    """
    if recipe.threads or settings.threads:
        torch.set_num_threads(recipe.threads or settings.threads)
    init_processes(settings.device)
    try:
        with main_process_first():
            context = _begin(recipe, folder, settings, console)
        if not (folder / RECORD).is_file():
            _stages(context)
        barrier()
        return read_record(folder)
    finally:
        destroy_processes()


def _begin(recipe: Recipe, folder: Path, settings: TrainerSettings, console: Console) -> RunContext:
    """Do everything before the first stage; each part is kept if it exists."""
    claim_run(folder, recipe)
    prepare(recipe.data, recipe.seed, folder / "data")
    tables = read_sources(folder / "data")
    judged = read_evaluation(folder / "data")
    texts = [text for table in tables.values() for text in table.texts()]
    build_initial_model(recipe.model, texts, folder / START, settings, recipe.seed)
    watched = {name: judged[name] for name in recipe.evaluation.during_training if name in judged}
    return RunContext(recipe, folder, tables, watched, settings, console)


def claim_run(folder: Path, recipe: Recipe) -> None:
    """Make a folder the run of a recipe, or check that it is.

    Raises:
        FolderTaken: it holds files that training did not make.
        ConfigurationError: it belongs to a run with other values.
    """
    claim_output(folder, RUN_MARKER)
    path = folder / RECIPE
    if not path.is_file():
        write_atomically(path, dump_recipe(recipe))
    elif load_recipe(str(path)) != recipe:
        msg = f"{folder} belongs to a run with other values (see {RECIPE} in it): take another --output, or remove it"
        raise ConfigurationError(msg, field="output")


def _stages(context: RunContext) -> None:
    model = context.folder / START
    for stage in context.recipe.stages:
        if isinstance(stage, TransformConfig):
            model = transform(context, stage, model)
        else:
            model = train_stage(context, stage, model)
        if is_main_process():
            draw_curves(read_journal(context.journal), context.folder / "curves.png")
    if is_main_process():
        _copy(model, context.folder / MODEL)
        write_atomically(context.folder / RECORD, _record(context).model_dump_json(indent=2))


def _record(context: RunContext) -> TrainingRecord:
    report = prepare(context.recipe.data, context.recipe.seed, context.folder / "data")
    model = load_model(context.folder / MODEL)
    prompt = model.prompts.get(model.default_prompt_name or "", "")
    done = [context.stage_folder(stage) / DONE for stage in context.recipe.stages]
    return TrainingRecord(
        recipe=context.recipe.name,
        base=context.recipe.model.base,
        seed=context.recipe.seed,
        data_fingerprint=report.fingerprint,
        code_version=code_version(),
        libraries=libraries(),
        machine=machine(),
        stages=[StageRecord.model_validate_json(path.read_bytes()) for path in done],
        metrics=TrainingEvaluator(read_evaluation(context.folder / "data"), prompt)(model),
    )


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, part)
    part.rename(target)


RECORD = "training.json"


class StageRecord(BaseModel):
    """One stage: optimizer steps made, and after which of them the weights were kept."""

    name: str
    steps: int
    kept_step: int


class TrainingRecord(BaseModel):
    """A whole training.

    Attributes:
        recipe: the name of the recipe; the file recipe.yaml beside this one has all its values.
        base: the model that training started from.
        seed: of every random choice.
        data_fingerprint: of what was trained on.
        code_version, libraries, machine: what it ran on.
        stages: in order.
        metrics: the finished model's metrics `set.metric`, by sentence-transformers itself.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")  # metrics of a broken model must reach the gate

    recipe: str
    base: str
    seed: int
    data_fingerprint: str
    code_version: str
    libraries: dict[str, str]
    machine: str
    stages: list[StageRecord]
    metrics: dict[str, float]


def read_record(run: Path) -> TrainingRecord:
    """The record of a run.

    Raises:
        ConfigurationError: the run is not finished.
    """
    try:
        return TrainingRecord.model_validate_json((run / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{run} holds no finished training: {error}"
        raise ConfigurationError(msg, field="run") from error
