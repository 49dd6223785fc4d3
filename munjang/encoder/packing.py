"""Can a model read several texts a row? Tried on a few texts, not assumed of its architecture.

Such a row needs attention that keeps its texts apart, and positions that begin anew with each text. Where a model does
not take both, or gives other vectors then, each text has a row of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from munjang.encoder import varlen
from munjang.encoder.contract import Tokens
from munjang.encoder.frames import arrays
from munjang.encoder.layout import Frame
from munjang.encoder.pipeline import Attention, Pipeline, tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang.encoder.rules import Rules

LENGTHS = (200, 33, 9, 5, 3, 2)
"""Tokens of the texts that are tried, as far as the model reads them."""

SAME, ROUNDED = 0.9999, 0.995
"""The least cosine between a text's two vectors where the model computes in float32, and where in a shorter format."""


def packing(modules: Sequence[Any], rules: Rules, attention: Attention) -> Rules:
    """The rules and how to pack, if a model of these modules can by this attention; else the rules as given."""
    transformer = modules[0].model
    if rules.pads_left or _looks_through_a_window(transformer.config):
        return rules
    texts = sample(rules.max_tokens)
    expected = alone(modules, texts, rules)
    row = Frame(sum(map(len, texts)) + 3, (tuple(range(len(texts))),))
    best, nearest = rules, SAME if transformer.dtype == torch.float32 else ROUNDED
    for first in _first_positions(transformer):
        tried = rules.model_copy(update={"packs": True, "first_position": first})
        try:
            found = _vectors(modules, row, texts, tried, attention)
        except Exception:  # noqa: BLE001, S112 - whatever an architecture says of such a row, it is a no
            continue
        cosine = least_cosine(expected, found)
        if cosine >= nearest:
            best, nearest = tried, cosine
    return best


def sample(most: int) -> list[Tokens]:
    """Texts of several lengths up to `most` tokens, of token ids that any vocabulary has."""
    return [
        Tokens(tuple(5 + (7 * number + step) % 90 for step in range(min(length, most))))
        for number, length in enumerate(LENGTHS)
    ]


def alone(modules: Sequence[Any], texts: Sequence[Tokens], rules: Rules) -> torch.Tensor:
    """The model's own vectors, float32 [texts, dimensions]."""
    frame = Frame(max(map(len, texts)), tuple((number,) for number in range(len(texts))))
    return _vectors(modules, frame, texts, rules, Attention.PADDED)


def least_cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    """Between vectors row by row; NaN where there is one."""
    return float(torch.nn.functional.cosine_similarity(left, right).min())


def _looks_through_a_window(config: Any) -> bool:
    """Whether tokens attend to their neighbours alone in some layers, which a mask of ours would undo."""
    return any(getattr(config, name, None) for name in ("sliding_window", "local_attention"))


def _first_positions(transformer: Any) -> list[int]:
    """Where positions may begin: at 0, or behind the padding's own, as RoBERTa and its kin have it."""
    padding = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
    return [0] if padding is None else [0, padding + 1]


def _vectors(
    modules: Sequence[Any], frame: Frame, texts: Sequence[Tokens], rules: Rules, attention: Attention
) -> torch.Tensor:
    pipeline = Pipeline(modules, attention)
    device = pipeline.transformer.device
    given = {name: tensor.to(device) for name, tensor in tensors(arrays(frame, texts, rules)).items()}
    with torch.inference_mode(), varlen.used_by(pipeline.transformer, on=attention is Attention.VARLEN):
        found: torch.Tensor = pipeline(**given)
    return found
