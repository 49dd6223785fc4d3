"""Attention of variable length for transformers in torch: all texts in one row, each attending to itself alone.

On a GPU it is torch's own kernel (FlashAttention); elsewhere each text is run by itself, which is right and slow.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "munjang_varlen"


def bounds(mask: torch.Tensor, width: int) -> dict[str, Any]:
    """What `attend` needs: where each text begins and ends, int32, the row's end last; and the longest one's tokens.

    Args:
        mask: int64 [texts, longest], 1 for a token.
        width: tokens of the row. What lies behind the last text, at most as much as the longest, is a text of its own.
    """
    ends = functional.pad(mask.sum(1).cumsum(0), (1, 1))
    ends[-1] = width
    return {"attention_mask": None, "bounds": ends.to(torch.int32), "longest": mask.shape[1]}


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 - the library's signature; the bounds say it all
    *,
    bounds: torch.Tensor,
    longest: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """The attention of one layer, as transformers calls it: [1, heads, T, d] each, to [1, T, heads, d].

    Raises:
        NotImplementedError: the layer looks through a sliding window.
    """
    if sliding_window:
        msg = "texts are not packed for layers with a sliding window"
        raise NotImplementedError(msg)
    causal = bool(getattr(module, "is_causal", False))
    if query.is_cuda:
        queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))
        window = (-1, 0) if causal else (-1, -1)
        found = varlen_attn(
            queries,
            keys,
            values,
            bounds,
            bounds,
            longest,
            longest,
            scale=scaling,
            window_size=window,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return torch.as_tensor(found)[None], None
    sizes = bounds.diff().tolist()
    apart = zip(*(torch.split(part, sizes, dim=2) for part in (query, key, value)), strict=True)
    texts = [_attend_alone(*parts, scaling=scaling, causal=causal) for parts in apart]
    return torch.cat(texts, dim=2).transpose(1, 2), None


def _attend_alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float | None, causal: bool
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(
        query, key, value, is_causal=causal, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


@contextmanager
def used_by(transformer: Any, *, on: bool = True) -> Iterator[None]:
    """Let a transformer attend this way for a while, if `on`."""
    usual = transformer.config._attn_implementation  # noqa: SLF001 - there is no other way to ask
    if on:
        use(transformer)
    try:
        yield
    finally:
        transformer.set_attn_implementation(usual)


def use(transformer: Any) -> None:
    """Let a transformer attend this way from now on."""
    AttentionInterface.register(NAME, attend)
    transformer.set_attn_implementation(NAME)
