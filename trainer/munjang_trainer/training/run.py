"""A whole training in one folder: data, start, stages, the finished model and its record. Every part is made once.

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

from munjang.errors import ConfigurationError
from munjang_trainer.data.prepare import prepare, read_evaluation, read_sources
from munjang_trainer.model.base import build_start, load_model
from munjang_trainer.provenance import code_version, libraries, machine
from munjang_trainer.recipe.load import dump_recipe
from munjang_trainer.training.curves import draw_curves
from munjang_trainer.training.record import RECORD, StageRecord, TrainingRecord, read_record
from munjang_trainer.training.stage import DONE, MODEL, Job, train_stage
from munjang_trainer.training.watching import Watch
from munjang_trainer.training.world import first_alone, is_first, join, leave, wait
from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.recipe import Recipe

RECIPE = "recipe.yaml"


def train(recipe: Recipe, folder: Path, settings: TrainerSettings, console: Console) -> TrainingRecord:
    """Train a recipe in a folder, or go on where a former call was stopped or killed.

    Raises:
        Interrupted: a signal came; the same call goes on.
        DataLeak: training data holds texts of an evaluation set.
        ConfigurationError: the recipe cannot be trained, or the folder belongs to another one.
    """
    if recipe.threads or settings.threads:
        torch.set_num_threads(recipe.threads or settings.threads)
    join(settings.device)
    try:
        with first_alone():
            job = _begin(recipe, folder, settings, console)
        if not (folder / RECORD).is_file():
            _stages(job)
        wait()
        return read_record(folder)
    finally:
        leave()


def _begin(recipe: Recipe, folder: Path, settings: TrainerSettings, console: Console) -> Job:
    """Everything before the first stage; each part is left alone if it stands."""
    _claim(folder, dump_recipe(recipe))
    prepare(recipe.data, recipe.seed, folder / "data")
    tables = read_sources(folder / "data")
    judged = read_evaluation(folder / "data")
    texts = [text for table in tables.values() for text in table.texts()]
    build_start(recipe.model, texts, folder / "start", settings, recipe.seed)
    watched = {name: judged[name] for name in recipe.evaluation.during_training if name in judged}
    return Job(recipe, folder, tables, watched, settings, console)


def _claim(folder: Path, recipe: str) -> None:
    path = folder / RECIPE
    if not path.is_file():
        write_whole(path, recipe)
    elif path.read_text(encoding="utf-8") != recipe:
        msg = f"{folder} belongs to a run with other values (see {RECIPE} in it): take another --output, or remove it"
        raise ConfigurationError(msg, field="output")


def _stages(job: Job) -> None:
    model = job.folder / "start"
    for stage in job.recipe.stages:
        model = train_stage(job, stage, model)
        if is_first():
            draw_curves(job.journal, job.folder / "curves.png")
    if is_first():
        _copy(model, job.folder / MODEL)
        write_whole(job.folder / RECORD, _record(job).model_dump_json(indent=2))


def _record(job: Job) -> TrainingRecord:
    report = prepare(job.recipe.data, job.recipe.seed, job.folder / "data")
    model = load_model(job.folder / MODEL)
    prompt = model.prompts.get(model.default_prompt_name or "", "")
    done = [job.stage_folder(stage) / DONE for stage in job.recipe.stages]
    return TrainingRecord(
        recipe=job.recipe.name,
        base=job.recipe.model.base,
        seed=job.recipe.seed,
        data_fingerprint=report.fingerprint,
        code_version=code_version(),
        libraries=libraries(),
        machine=machine(),
        stages=[StageRecord.model_validate_json(path.read_bytes()) for path in done],
        metrics=Watch(read_evaluation(job.folder / "data"), prompt)(model),
    )


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, part)
    part.rename(target)
