"""The Trainer of sentence-transformers with our arguments, batch sampler and evaluator, without its model card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetBatchSamplers, NoDuplicatesBatchSampler
from torch import nn
from torch.utils.data import RandomSampler
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from munjang.errors import MunjangError
from munjang_trainer.evaluation.metrics import compute_samples, figures_of
from munjang_trainer.training.distributed import on_cpu, world_size
from munjang_trainer.training.prompts import prompt_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from datasets import Dataset
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from torch.utils.data import BatchSampler
    from transformers import TrainerState

    from munjang.kinds import Role
    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.schema import StageConfig
    from munjang_trainer.training.datasets import DuplicateKeys


class TrainingDiverged(MunjangError):
    """A loss or a weight is no longer finite: what follows could not be a model."""

    def __init__(self, stage: str, step: int, what: str) -> None:
        message = f"training diverged in stage {stage!r} at step {step}: {what}. Lower the stage's learning_rate"
        super().__init__(f"{message} or max_grad_norm, or train in bfloat16 or float32 rather than float16")


class StopOnDivergence(TrainerCallback):
    """Ends training after the first step that leaves a weight which is not finite, before it can be saved."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def on_step_end(self, _args: Any, state: TrainerState, _control: Any, model: nn.Module, **_: Any) -> None:
        """Called after each step, by every process. Checks the largest weight: it is NaN if any is."""
        weights = [weight.detach() for weight in model.parameters() if weight.requires_grad]
        if not torch.isfinite(nn.utils.get_total_norm(weights, norm_type=math.inf)):
            raise TrainingDiverged(self._stage, state.global_step, "a weight is not finite")


class Trainer(SentenceTransformerTrainer):
    """Draws batches of the datasets in `sampled` so that no text and no group is in a batch twice.

    It ends at the first loss or weight that is not finite: `TrainingDiverged`.
    """

    def __init__(self, *, stage: str, sampled: Mapping[str, DuplicateKeys], **options: Any) -> None:
        """Take the Trainer's own options, and by dataset name the columns that must not repeat in a batch."""
        super().__init__(**options)
        self._stage = stage
        self._sampled = sampled
        self.remove_callback(PrinterCallback)
        self.add_callback(StopOnDivergence(stage))

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Forward and backward of one batch."""
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainingDiverged(self._stage, self.state.global_step + 1, f"the loss is {loss.item()}")
        return loss

    def get_batch_sampler(  # noqa: PLR0917 - the library's signature
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> BatchSampler:
        """The sampler of one dataset."""
        name = next((name for name, known in self.train_dataset.items() if known is dataset), "")
        if name not in self._sampled:
            order = RandomSampler(dataset, generator=generator)
            return DefaultBatchSampler(order, batch_size, drop_last, generator=generator, seed=seed)
        rows = self._sampled[name]
        options = {"valid_label_columns": valid_label_columns, "generator": generator, "seed": seed}
        return NoDuplicatesBatchSampler(rows, batch_size, drop_last, **options)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Gather nothing for the library's card: munjang writes its own when a model is finished."""


MIXING = {
    "proportional": MultiDatasetBatchSamplers.PROPORTIONAL,
    "round-robin": MultiDatasetBatchSamplers.ROUND_ROBIN,
}


def make_arguments(
    stage: StageConfig, folder: Path, *, seed: int, prompts: dict[str, dict[str, str]], device: str, evaluates: bool
) -> SentenceTransformerTrainingArguments:
    """The Trainer's arguments; checkpoints go into `folder`. Which checkpoints are kept is left to `checkpoints`.

    Several processes share each batch, which is as many times larger. So all of them use the same dataset, whose
    loss takes the texts of all as negatives. (With separate batches they could use different losses and would
    deadlock.)
    """
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        seed=seed,
        data_seed=seed,
        prompts=prompts,
        num_train_epochs=stage.epochs,
        max_steps=stage.steps or -1,
        per_device_train_batch_size=stage.batch_size * world_size(),
        accelerator_config={"split_batches": world_size() > 1},
        gradient_accumulation_steps=stage.accumulate,
        multi_dataset_batch_sampler=MIXING[stage.mixing],
        dataloader_drop_last=stage.drop_last or world_size() > 1,
        learning_rate=stage.learning_rate,
        lr_scheduler_type=stage.schedule,
        warmup_steps=stage.warmup if stage.warmup < 1 else int(stage.warmup),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_grad_norm,
        bf16=stage.precision == "bfloat16",
        fp16=stage.precision == "float16",
        activation_checkpointing=stage.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if stage.gradient_checkpointing else None,
        use_cpu=on_cpu(device),
        dataloader_pin_memory=not on_cpu(device),
        logging_steps=stage.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would show a loss of NaN as 0
        metric_for_best_model=stage.watch or None,
        greater_is_better=True if stage.watch else None,
        report_to="none",
        disable_tqdm=True,
        **_schedule(stage, evaluates=evaluates),
    )


def _schedule(stage: StageConfig, *, evaluates: bool) -> dict[str, Any]:
    """When to save and when to evaluate."""
    options: dict[str, Any] = {"save_strategy": "epoch", "eval_strategy": "epoch" if evaluates else "no"}
    if stage.save_every:
        options |= {"save_strategy": "steps", "save_steps": stage.save_every}
    if evaluates and stage.evaluate_every:
        options |= {"eval_strategy": "steps", "eval_steps": stage.evaluate_every}
    return options


class TrainingEvaluator(BaseEvaluator):
    """Metrics `set.metric` of the model in training: texts with the prompt of their role, else with the trained one."""

    def __init__(self, tables: Mapping[str, Table], prompt: str, batch_size: int = 64) -> None:
        super().__init__()
        self._tables = tables
        self._prompt = prompt
        self._options = {"batch_size": batch_size, "show_progress_bar": False, "convert_to_numpy": True}

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode and measure; the library passes `output_path`, `epoch` and `steps` to every evaluator."""
        del output_path, epoch, steps

        def vectors_of(texts: Sequence[str], role: Role | None) -> NDArray[np.float32]:
            prompt = self._prompt if role is None else prompt_of(model, role)
            return model.encode(list(texts), prompt=prompt, **self._options).astype(np.float32)

        return {
            f"{name}.{figure}": value
            for name, table in self._tables.items()
            for figure, value in figures_of(compute_samples(table, vectors_of)).items()
        }
