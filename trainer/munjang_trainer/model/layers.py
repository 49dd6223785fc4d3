"""Fewer layers: keep some of a transformer's, evenly spread. What is lost is won back by distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def keep_layers(model: SentenceTransformer, count: int) -> list[int]:
    """Leave `count` layers in place, the first and the last among them; returns which.

    Raises:
        ConfigurationError: the model has fewer layers, or keeps them in a way that is not known here.
    """
    transformer = model.transformers_model
    total = getattr(transformer.config, "num_hidden_layers", 0)
    if not 0 < count <= total:
        msg = f"{count} layers cannot be kept of a model that has {total}"
        raise ConfigurationError(msg, field="model.shrink.layers")
    stacks = [
        (module, name, child)
        for module in transformer.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    if len(stacks) != 1:
        msg = f"{type(transformer).__name__} does not keep its layers in one list: they cannot be dropped"
        raise ConfigurationError(msg, field="model.shrink.layers")
    kept = spread(total, count)
    owner, name, layers = stacks[0]
    setattr(owner, name, nn.ModuleList(layers[position] for position in kept))
    config = transformer.config
    config.num_hidden_layers = count
    if len(getattr(config, "layer_types", None) or ()) == total:
        config.layer_types = [config.layer_types[position] for position in kept]
    return kept


def spread(total: int, count: int) -> list[int]:
    """`count` positions out of `total`, evenly, from the first to the last."""
    if count == 1:
        return [0]
    return [round(position * (total - 1) / (count - 1)) for position in range(count)]
