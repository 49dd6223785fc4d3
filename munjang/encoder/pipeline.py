"""A transformer with its pooling as one torch module over the arrays of a frame.

Rows may hold several texts. Whether an architecture gives the same vectors then is found out by `packing`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch

from munjang.encoder import varlen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Attention(StrEnum):
    """How the texts of a frame are kept apart."""

    PADDED = "padded"  # one text a row; its padding is masked
    ROWS = "rows"  # a mask among the texts of each row
    VARLEN = "varlen"  # one row of all texts, without padding, and attention of variable length


class Pipeline(torch.nn.Module):
    """The modules of a sentence-transformers model whose first one is a transformer.

    The transformer computes in its own number format, pooling and what follows in float32.
    """

    def __init__(self, modules: Sequence[Any], attention: Attention) -> None:
        super().__init__()
        self.transformer = modules[0].model
        self.rest = torch.nn.ModuleList(module.float() for module in modules[1:])
        self._attention = attention
        self._has_kinds = hasattr(getattr(self.transformer, "embeddings", None), "token_type_embeddings")

    def forward(  # noqa: PLR0917 - tracing hands the inputs over by place
        self,
        input_ids: torch.Tensor,
        segments: torch.Tensor,
        index: torch.Tensor,
        mask: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Vectors float32 [texts, dimensions] of a frame; see `frames.arrays` for its inputs."""
        given: dict[str, Any] = {"input_ids": input_ids} | self._apart(segments, mask)
        if position_ids is not None:
            given["position_ids"] = position_ids
        if token_type_ids is not None:
            given["token_type_ids"] = token_type_ids
        elif self._has_kinds:  # all of the first one, said once for all tokens
            given["token_type_ids"] = input_ids.new_zeros((1, 1))
        hidden = self.transformer(**given).last_hidden_state
        tokens = hidden.reshape(-1, hidden.shape[-1])[index].float()
        features = {"token_embeddings": tokens, "attention_mask": mask}
        for module in self.rest:
            features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors

    def _apart(self, segments: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """What tells the transformer which tokens belong together."""
        match self._attention:
            case Attention.PADDED:
                return {"attention_mask": (segments > 0).long()}
            case Attention.ROWS:
                dtype = self.transformer.dtype
                same = segments[:, None, :, None] == segments[:, None, None, :]
                return {"attention_mask": torch.where(same, 0.0, torch.finfo(dtype).min).to(dtype)}
            case Attention.VARLEN:
                return varlen.bounds(mask, segments.shape[1])


def tensors(found: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Arrays as tensors on the CPU that share their memory."""
    return {name: torch.from_numpy(array) for name, array in found.items()}
