"""One stage: from the folder of a model to the folder of a better one, resumable at every moment."""

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

from munjang_trainer.model.base import load_model, save_model
from munjang_trainer.model.lora import add_lora, merge_lora
from munjang_trainer.training.arguments import make_arguments
from munjang_trainer.training.average import Average
from munjang_trainer.training.checkpoints import Checkpoints, clear_broken, load_projections, step_of, whole_checkpoints
from munjang_trainer.training.interrupt import Interrupt, Interrupted
from munjang_trainer.training.journal import Journal, rewind
from munjang_trainer.training.loop import Loop
from munjang_trainer.training.material import gather
from munjang_trainer.training.progress import ProgressBar
from munjang_trainer.training.watching import Watch
from munjang_trainer.training.world import first_alone, is_first, wait
from munjang_trainer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from sentence_transformers import SentenceTransformer
    from transformers import TrainerCallback

    from munjang.settings import TrainerSettings
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.recipe import Recipe
    from munjang_trainer.recipe.stages import StagePart
    from munjang_trainer.training.material import Material

MODEL = "model"
JOURNAL = "journal.jsonl"
DONE = "done.json"


@dataclass(frozen=True)
class Job:
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
        """The file of what happened at which step."""
        return self.folder / JOURNAL

    def stage_folder(self, stage: StagePart) -> Path:
        """Where a stage keeps its checkpoints and its model."""
        return self.folder / "stages" / stage.name


def train_stage(job: Job, stage: StagePart, start: Path) -> Path:
    """Train one stage, or go on with it, or find it done; returns the folder of its model.

    Raises:
        Interrupted: a signal came; a checkpoint was written, and the same call goes on from it.
        ConfigurationError: the stage cannot be trained as the recipe says.
    """
    folder = job.stage_folder(stage)
    if (folder / MODEL).is_dir():
        return folder / MODEL
    with first_alone():
        folder.mkdir(parents=True, exist_ok=True)
        clear_broken(folder)
    wait()
    set_seed(job.recipe.seed)
    model = _load(job, start)
    material = gather(stage, job.tables, model, prompt=_prompt(model), folder=folder, settings=job.settings)
    if job.recipe.model.lora:
        add_lora(model, job.recipe.model.lora)
    loop = _run(job, stage, model, material)
    if is_first():
        _finish(stage, folder, start, loop, lora=job.recipe.model.lora is not None)
    wait()
    return folder / MODEL


def _load(job: Job, start: Path) -> SentenceTransformer:
    model = load_model(start)
    if job.recipe.model.dropout is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = job.recipe.model.dropout
    return model


def _prompt(model: SentenceTransformer) -> str:
    return str(model.prompts.get(model.default_prompt_name or "", ""))


def _run(job: Job, stage: StagePart, model: SentenceTransformer, material: Material) -> Loop:
    folder = job.stage_folder(stage)
    arguments = make_arguments(
        stage,
        folder,
        seed=job.recipe.seed,
        prompt=_prompt(model),
        device=job.settings.device,
        evaluates=bool(job.watched),
    )
    bar, interrupt = ProgressBar(job.console, stage.name), Interrupt()
    resumed = next(reversed(whole_checkpoints(folder)), None)
    average = Average(stage.average, resumed) if stage.average else None
    loop = Loop(
        sampled=material.sampled,
        model=model,
        args=arguments,
        train_dataset=material.datasets,
        loss=material.losses,
        evaluator=Watch(job.watched, _prompt(model)) if job.watched else None,
        callbacks=[*([average] if average else []), *_recorders(job, stage, material), bar, interrupt],
    )
    if resumed:
        load_projections(resumed, material.losses)
    if is_first():
        rewind(job.journal, stage.name, step_of(resumed) if resumed else 0)
    try:
        with interrupt:
            loop.train(resume_from_checkpoint=str(resumed) if resumed else None)
    finally:
        bar.close()
    if interrupt.received:
        msg = f"stopped in stage {stage.name!r} after step {loop.state.global_step}: run the same command to go on"
        raise Interrupted(msg, interrupt.received)
    if average:
        average.take(model)
    return loop


def _recorders(job: Job, stage: StagePart, material: Material) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [Checkpoints(stage.keep_checkpoints, material.losses)]
    callbacks.append(Journal(job.journal, stage.name))
    if is_first():
        callbacks.append(TensorBoardCallback(SummaryWriter(str(job.folder / "tensorboard" / stage.name))))
    if stage.patience:
        callbacks.append(EarlyStoppingCallback(stage.patience))
    return callbacks


def _finish(stage: StagePart, folder: Path, start: Path, loop: Loop, *, lora: bool) -> None:
    """Write the stage's model: a kill before the last step leaves the checkpoints, which give the same model again."""
    work = folder / f".{MODEL}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    kept = loop.state.global_step
    if stage.keep == "best" and loop.state.best_model_checkpoint:
        best = Path(loop.state.best_model_checkpoint)
        kept = step_of(best)
        loop._load_from_checkpoint(str(best))  # noqa: SLF001 - load_best_model_at_end would swallow a failure
    model = loop.model.cpu()
    if lora:
        model = merge_lora(start, model, work / "additions")
    save_model(model, work / MODEL)
    write_whole(folder / DONE, json.dumps({"name": stage.name, "steps": loop.state.global_step, "kept_step": kept}))
    (work / MODEL).rename(folder / MODEL)
    shutil.rmtree(work)
