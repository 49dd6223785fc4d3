"""Distils a teacher's ranking of the batch: how it distributes each query over all documents of the batch.

Vectors may move as they like, as long as every query ranks the documents as the teacher does. So a model can learn
something else (other distances, a wider range of cosines) and keep what its teacher finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sentence_transformers import SentenceTransformer


class RankingDistillLoss(nn.Module):
    """The KL divergence of the student's distribution over the batch's documents from the teacher's.

    The label of a row is the teacher's vectors of its texts: float32 [rows, columns, d]. The first column is the query;
    the documents of the batch are all texts of the other columns.
    """

    def __init__(self, model: SentenceTransformer, scale: float, teacher_scale: float, contrast: float) -> None:
        """Take the factors of both sides' cosines, and the weight of the contrastive loss beside."""
        super().__init__()
        self.model = model
        self._scale = scale
        self._teacher_scale = teacher_scale
        self._contrast = contrast

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        """The mean over the queries of the batch."""
        vectors = [self.model(features)["sentence_embedding"] for features in sentence_features]
        student = self._scale * _cosines(vectors[0], torch.cat(vectors[1:]))
        teacher = self._teacher_scale * _cosines(labels[:, 0], labels[:, 1:].transpose(0, 1).flatten(0, 1))
        loss = functional.kl_div(
            functional.log_softmax(student, dim=1),
            functional.log_softmax(teacher.to(student.dtype), dim=1),
            reduction="batchmean",
            log_target=True,
        )
        if self._contrast:
            own = torch.arange(len(student), device=student.device)
            loss = loss + self._contrast * functional.cross_entropy(student, own)
        return loss


def _cosines(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """All of them, float32 [queries, documents]."""
    return functional.normalize(queries.float(), dim=1) @ functional.normalize(documents.float(), dim=1).T
