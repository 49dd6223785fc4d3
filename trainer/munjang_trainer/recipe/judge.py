"""The `evaluation`, `gate` and `publish` parts of a recipe: what is measured, what is demanded, what is published."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from munjang.vectors import Precision
from munjang_trainer.recipe.base import Name, Part, Positive


class EvaluationPart(Part):
    """What is measured beside the plain figures of every set.

    Attributes:
        during_training: the sets that are evaluated while training; empty: none.
        dimensions: Matryoshka cuts to measure as well; the model's own full length is always measured.
        precisions: number formats to measure as well.
        resamples: bootstrap resamples for intervals.
    """

    during_training: tuple[Name, ...] = ()
    dimensions: tuple[Positive, ...] = ()
    precisions: tuple[Precision, ...] = tuple(Precision)
    resamples: Annotated[int, Field(ge=100)] = 1000


class GatePart(Part):
    """What a model must fulfil to be published.

    Attributes:
        alias: the version that this alias names is what the model is compared with.
        metrics: the figures `set.metric` that are compared; empty: the main figure of every set.
        margin: a figure may be so much below the serving version's.
        confidence: the level of the bootstrap interval; refused is what lies below the margin with the whole
            interval of the difference, so that noise refuses nothing.
        minimum: figures that must be reached in any case.
        tolerance: how far the saved model, loaded in a fresh process, may be from the figures of training.
        allow_dimension_change: whether the vectors may have another length than the serving version's.
    """

    alias: str = "stable"
    metrics: tuple[str, ...] = ()
    margin: Annotated[float, Field(ge=0)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    minimum: dict[str, float] = Field(default_factory=dict)
    tolerance: Annotated[float, Field(gt=0)] = 1e-4
    allow_dimension_change: bool = False


class PublishPart(Part):
    """What is said of the model in its manifest and card.

    Attributes:
        languages: ISO codes.
        licence: of the weights.
        intended_use, limits: for the card.
    """

    languages: tuple[str, ...] = ("ko",)
    licence: str = ""
    intended_use: str = ""
    limits: str = ""
