"""The loss of each dataset of a stage, as the recipe names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer import losses

from munjang_trainer.training.distributed import world_size

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from munjang_trainer.recipe.schema import DatasetConfig


def make_loss(
    model: SentenceTransformer, dataset: DatasetConfig, matryoshka: tuple[int, ...], teacher_dimensions: int = 0
) -> nn.Module:
    """The loss of one dataset; with `matryoshka` it is also computed on the first so many dimensions.

    With several processes, each takes the texts of all as negatives.

    A distillation loss is left whole: its target is the whole vector of the teacher, to whose length the student's is
    projected while training if it is another.
    """
    if dataset.teacher is not None:
        own = model.get_embedding_dimension()
        projection = teacher_dimensions if teacher_dimensions != own else None
        return losses.EmbedDistillLoss(model, distance_metric=dataset.teacher.metric, projection_dim=projection)
    loss = _plain(model, dataset)
    full = model.get_embedding_dimension() or 0
    shorter = tuple(cut for cut in matryoshka if cut < full)
    return losses.MatryoshkaLoss(model, loss, matryoshka_dims=[full, *shorter]) if shorter else loss


def _plain(model: SentenceTransformer, dataset: DatasetConfig) -> nn.Module:
    directions: Any = ("query_to_doc", "doc_to_query") if dataset.symmetric else ("query_to_doc",)
    mode: Any = "per_direction" if dataset.symmetric else "joint"
    match dataset.loss:
        case "mnrl":
            return losses.MultipleNegativesRankingLoss(
                model,
                scale=dataset.scale,
                directions=directions,
                partition_mode=mode,
                gather_across_devices=world_size() > 1,
            )
        case "cached-mnrl":
            return losses.CachedMultipleNegativesRankingLoss(
                model,
                scale=dataset.scale,
                directions=directions,
                partition_mode=mode,
                mini_batch_size=dataset.mini_batch,
                gather_across_devices=world_size() > 1,
            )
        case "cosent":
            return losses.CoSENTLoss(model, scale=dataset.scale)
        case "cosine":
            return losses.CosineSimilarityLoss(model)
        case _:
            msg = f"{dataset.loss} needs a teacher"
            raise ValueError(msg)
