"""Changes a model's weights without training: averages them with another model's, or moves the mean of its vectors."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import nn

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

SEEN = ("하늘이 맑다.", "회의는 세 시에 시작합니다.", "query: 서울은 어떤 도시인가?")
"""Texts on which a moved mean is checked."""


def merge(model: SentenceTransformer, other: SentenceTransformer, share: float) -> None:
    """Average the weights with those of another model of the same form (Wortsman et al., arXiv:2203.05482).

    Args:
        model: is changed.
        other: gives `share` of each weight.
        share: from 0 to 1.

    Raises:
        ConfigurationError: the two have not the same form.
    """
    own, theirs = model.state_dict(), other.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in theirs.items()}:
        msg = "only models of the same form can be averaged, and this one has another than the one that it started from"
        raise ConfigurationError(msg, field="stages.merge")
    model.load_state_dict(
        {name: value.lerp(theirs[name], share) if value.is_floating_point() else value for name, value in own.items()}
    )


def centre(model: SentenceTransformer, texts: Sequence[str], share: float, count: int, seed: int) -> None:
    """Subtract a share of the mean vector, before it is normalised, from the bias of the last layer.

    Args:
        model: is changed.
        texts: the mean is that of `count` of them, picked at random, with the model's default prompt.
        share: of the mean.
        count: how many texts.
        seed: of the choice.

    Raises:
        ConfigurationError: the model has no last bias that moves all vectors alike.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice, not a secret
    chosen = draw.sample(list(texts), min(count, len(texts)))
    shift = torch.from_numpy(share * _raw(model, chosen).mean(0))
    before = _raw(model, SEEN)
    biases = [
        module.bias
        for module in model.modules()
        if isinstance(getattr(module, "bias", None), nn.Parameter) and module.bias.shape == shift.shape
    ]
    for bias in reversed(biases):
        kept = bias.detach().clone()
        bias.data -= shift
        if np.allclose(_raw(model, SEEN), before - shift.numpy(), atol=1e-4):
            return
        bias.data = kept
    msg = "this architecture has no last bias that moves all vectors alike: it cannot be centred"
    raise ConfigurationError(msg, field="stages.centre")


def _raw(model: SentenceTransformer, texts: Sequence[str]) -> np.ndarray:
    """Vectors before they are normalised, float32 [n, d]."""
    modules = [module for module in model if not isinstance(module, Normalize)]
    plain = type(model)(modules=modules, device=str(model.device))
    prompt = model.prompts.get(model.default_prompt_name or "", "")
    found = plain.encode(list(texts), prompt=prompt, convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(found, np.float32)
