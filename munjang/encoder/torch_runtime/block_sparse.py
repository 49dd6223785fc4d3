"""BigBird, which attends to blocks of a long text: its way depends on the text alone, not on what ran before.

As transformers has it, the first short text turns block-sparse attention off for good, and a text's vector depends on
the history of the process. Here every forward takes the way of a fresh model for its length.
"""

from __future__ import annotations

from typing import Any

import torch

WIDTH_STEP = 8
"""A row's width is a multiple of this, or the text's own length."""


def full_attention_limit(module: Any) -> int | None:
    """The most tokens of a row that a BigBird looks at as a whole; None for a model that is none, or reads no more.

    Args:
        module: the transformer module of a sentence-transformers model, with its limits settled.
    """
    config = module.model.config
    if config.model_type != "big_bird" or config.attention_type != "block_sparse":
        return None
    most = (5 + 2 * config.num_random_blocks) * config.block_size
    return most if module.max_seq_length > most else None


def settle_attention(module: Any) -> None:
    """Let the model choose its attention anew for each forward; one that reads short texts alone never uses blocks."""
    model, most = module.model, full_attention_limit(module)
    if most is not None:  # on the module, which calls the model's `forward` past its hooks
        module.register_forward_pre_hook(lambda _, given: _choose(model, given[0]["input_ids"].shape[1], most))
    elif model.config.model_type == "big_bird":
        _set(model, "original_full")


def _choose(model: Any, width: int, most: int) -> None:
    _set(model, "original_full" if width <= most else "block_sparse")


def _set(model: Any, kind: str) -> None:
    with torch.device("meta"):  # it makes weights only to replace them by those that it has
        model.set_attention_type(kind)
