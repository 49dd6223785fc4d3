"""The `stages` of a recipe: what is trained on with which loss, for how long, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from munjang_trainer.recipe.base import Name, NotNegative, Part, Positive, Rate

Loss = Literal["mnrl", "cached-mnrl", "cosent", "cosine", "distill"]

LOSSES: dict[str, tuple[Loss, ...]] = {
    "triplets": ("mnrl", "cached-mnrl", "distill"),
    "pairs": ("mnrl", "cached-mnrl", "distill"),
    "sts": ("cosent", "cosine", "distill"),
}
"""The losses that fit a kind of table."""


class Mining(Part):
    """Search a hard negative for each pair: a text that the model finds near the anchor, though not too near.

    Attributes:
        negatives: so many for each pair.
        skip: leave out this many nearest texts.
        nearest: search among so many nearest texts.
        relative_margin: a negative's score is at most (1 − margin) × the positive's.
    """

    negatives: Positive = 1
    skip: NotNegative = 0
    nearest: Positive = 50
    relative_margin: Annotated[float, Field(ge=0, lt=1)] = 0.05


class Teacher(Part):
    """The model whose vectors a student learns to give.

    Attributes:
        base: what `model.base` may be, except `random`.
        prompt: the name of the prompt that the teacher puts before texts.
        metric: how far the student's vector is from the teacher's: cosine and l2 as in EmbedDistill (arXiv:2301.12005),
            mse as in multilingual distillation (arXiv:2004.09813).
    """

    base: str
    prompt: str = ""
    metric: Literal["cosine", "l2", "mse"] = "cosine"


class DatasetPart(Part):
    """How one source is used in a stage.

    Attributes:
        loss: `mnrl` MultipleNegativesRankingLoss; `cached-mnrl` the same with gradients cached, so that memory no
            longer bounds the batch; `cosent` and `cosine` for scored pairs; `distill` towards a teacher's vectors.
        scale: what similarities are multiplied by in mnrl and cosent.
        symmetric: mnrl also from the positive to its anchor.
        mini_batch: texts in one forward of cached-mnrl.
        mine: search hard negatives first (pairs only).
        teacher: for distill.
    """

    loss: Loss
    scale: Rate = 20.0
    symmetric: bool = False
    mini_batch: Positive = 32
    mine: Mining | None = None
    teacher: Teacher | None = None

    @model_validator(mode="after")
    def _teacher_for_distill(self) -> DatasetPart:
        if (self.loss == "distill") != (self.teacher is not None):
            msg = "loss: distill and a part `teacher:` belong together"
            raise ValueError(msg)
        if self.mine and self.loss not in {"mnrl", "cached-mnrl"}:
            msg = f"mine: needs a loss with negatives, not {self.loss}"
            raise ValueError(msg)
        return self


class StagePart(Part):
    """One run over datasets; the next stage goes on from where it ends.

    Attributes:
        datasets: sources by name.
        mixing: several datasets in proportion to their size, or in turn until the smallest is through.
        sampler: `no-duplicates` keeps texts, and texts of one group, from meeting twice in a batch.
        matryoshka: train the first so many dimensions too, each as if it were the whole vector.
        epochs, steps: how long; steps overrule epochs if above 0.
        batch_size: rows in a batch of one process.
        accumulate: batches that are added up before a step. (It adds no negatives to mnrl: cached-mnrl does.)
        warmup: steps of rising learning rate; below 1, a part of all steps.
        precision: bfloat16 computes in mixed precision.
        drop_last: leave out a last batch that is not full; always so with several processes.
        evaluate_every, save_every: steps between evaluations and between checkpoints; 0: at the end of each epoch.
        keep_checkpoints: so many stay on disk.
        watch: the figure `set.metric` that `keep: best` and `patience` look at.
        average: 0, or the decay of a moving average of the weights over the steps, such as 0.99; the average is what
            the stage leaves behind. Evaluations on the way look at the weights themselves.
        keep: go on with the last weights, or with the best by `watch`.
        patience: stop after so many evaluations without a better figure; 0 never.
    """

    name: Name
    datasets: Annotated[dict[Name, DatasetPart], Field(min_length=1)]
    mixing: Literal["proportional", "round-robin"] = "proportional"
    sampler: Literal["no-duplicates", "shuffled"] = "no-duplicates"
    matryoshka: tuple[Positive, ...] = ()
    epochs: Rate = 1.0
    steps: NotNegative = 0
    batch_size: Positive = 64
    accumulate: Positive = 1
    learning_rate: Rate = 2e-5
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup: Annotated[float, Field(ge=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Rate = 1.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    drop_last: bool = False
    log_every: Positive = 10
    evaluate_every: NotNegative = 0
    save_every: NotNegative = 0
    keep_checkpoints: Positive = 2
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Literal["last", "best"] = "last"
    watch: str = ""
    patience: NotNegative = 0

    @model_validator(mode="after")
    def _watched(self) -> StagePart:
        if (self.keep == "best" or self.patience) and not self.watch:
            msg = "keep: best and patience need `watch: set.metric`"
            raise ValueError(msg)
        if self.keep == "best" and self.average:
            msg = "keep: best looks at single checkpoints, not at their average: leave one of both out"
            raise ValueError(msg)
        if (self.keep == "best" or self.patience) and self.evaluate_every != self.save_every:
            msg = "keep: best and patience need a checkpoint at every evaluation: save_every = evaluate_every"
            raise ValueError(msg)
        return self
