"""The `model` part of a recipe: where the weights come from, and what is changed before training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from munjang_trainer.recipe.base import Fraction, NotNegative, Part, Positive


class RandomShape(Part):
    """A BERT with random weights and a WordPiece vocabulary made of the training texts: for tests and for speed."""

    layers: Positive = 2
    hidden: Positive = 32
    heads: Positive = 2
    feed_forward: Positive = 64
    vocabulary: Positive = 2000


class Lora(Part):
    """Train low-rank additions to the weights instead of the weights; they are merged in when training is over."""

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Fraction = 0.0
    modules: tuple[str, ...] = ("query", "key", "value", "dense")


class Shrink(Part):
    """Make the model smaller before training.

    Attributes:
        layers: keep so many layers, evenly spread from the first to the last; 0 keeps all.
        vocabulary: keep only the tokens that the training texts use, single characters, and special ones.
    """

    layers: NotNegative = 0
    vocabulary: bool = False


class ModelPart(Part):
    """The model that training starts from.

    Attributes:
        base: `starter` (the starter model), a sentence-transformers or transformers folder, a hub
            id, a registry version (`version:7`, `version:stable`), or `random`.
        max_tokens: texts are cut at so many tokens; 0 leaves the base model's limit.
        pooling: how token vectors become one, where the base is a plain transformer.
        prompt: the name of the prompt that is put before every text in training and evaluation; it becomes the model's
            default prompt, so that callers who name none get what was trained. Empty: no prompt.
        prompts: prompts by name, added to the base model's.
        dropout: the dropout of hidden states and attention while training; None leaves the base model's.
    """

    base: str
    max_tokens: NotNegative = 0
    pooling: Literal["mean", "cls", "lasttoken"] = "mean"
    prompt: str = ""
    prompts: dict[str, str] = Field(default_factory=dict)
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    random: RandomShape | None = None
    shrink: Shrink | None = None
    lora: Lora | None = None

    @model_validator(mode="after")
    def _shape_of_random(self) -> ModelPart:
        if (self.base == "random") != (self.random is not None):
            msg = "base: random and a part `random:` belong together"
            raise ValueError(msg)
        return self
