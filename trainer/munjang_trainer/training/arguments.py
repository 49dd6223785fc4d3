"""A stage of a recipe as arguments of the Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import MultiDatasetBatchSamplers

from munjang_trainer.training.world import on_cpu, processes

if TYPE_CHECKING:
    from pathlib import Path

    from munjang_trainer.recipe.stages import StagePart

MIXING = {
    "proportional": MultiDatasetBatchSamplers.PROPORTIONAL,
    "round-robin": MultiDatasetBatchSamplers.ROUND_ROBIN,
}


def make_arguments(
    stage: StagePart, folder: Path, *, seed: int, prompt: str, device: str, evaluates: bool
) -> SentenceTransformerTrainingArguments:
    """The Trainer's arguments; checkpoints go into `folder`. Which checkpoints are kept is left to `checkpoints`.

    Several processes share each batch, which is as many times larger: all of them are then at the same dataset, whose
    loss takes the texts of all as negatives. (Each with a batch of its own, they could be at different losses and would
    wait for each other for ever.)
    """
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        seed=seed,
        data_seed=seed,
        prompts=prompt or None,
        num_train_epochs=stage.epochs,
        max_steps=stage.steps or -1,
        per_device_train_batch_size=stage.batch_size * processes(),
        accelerator_config={"split_batches": processes() > 1},
        gradient_accumulation_steps=stage.accumulate,
        multi_dataset_batch_sampler=MIXING[stage.mixing],
        dataloader_drop_last=stage.drop_last or processes() > 1,
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
        metric_for_best_model=stage.watch or None,
        greater_is_better=True if stage.watch else None,
        report_to="none",
        disable_tqdm=True,
        **_moments(stage, evaluates=evaluates),
    )


def _moments(stage: StagePart, *, evaluates: bool) -> dict[str, Any]:
    moments: dict[str, Any] = {
        "save_strategy": "steps" if stage.save_every else "epoch",
        "eval_strategy": "no",
    }
    if stage.save_every:
        moments["save_steps"] = stage.save_every
    if evaluates:
        moments["eval_strategy"] = "steps" if stage.evaluate_every else "epoch"
        if stage.evaluate_every:
            moments["eval_steps"] = stage.evaluate_every
    return moments
