"""The Trainer of sentence-transformers with our way to draw batches, and without its own model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler
from torch.utils.data import RandomSampler
from transformers.trainer_callback import PrinterCallback

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from datasets import Dataset
    from torch.utils.data import BatchSampler

    from munjang_trainer.training.datasets import Distinct


class Loop(SentenceTransformerTrainer):
    """Draws batches of the datasets in `sampled` so that no text and no group comes twice in one."""

    def __init__(self, *, sampled: Mapping[str, Distinct], **options: Any) -> None:
        """Take the Trainer's own options, and by dataset name the columns that must not repeat in a batch."""
        super().__init__(**options)
        self._sampled = sampled
        self.remove_callback(PrinterCallback)

    def get_batch_sampler(  # noqa: PLR0917 - the library's signature
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> BatchSampler:
        """The sampler of one dataset."""
        name = next((name for name, known in self.train_dataset.items() if known is dataset), "")
        if name not in self._sampled:
            order = RandomSampler(dataset, generator=generator)
            return DefaultBatchSampler(order, batch_size, drop_last, generator=generator, seed=seed)
        return NoDuplicatesBatchSampler(
            self._sampled[name],
            batch_size,
            drop_last,
            valid_label_columns=valid_label_columns,
            generator=generator,
            seed=seed,
        )

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Gather nothing for the library's card: munjang writes its own when a model is finished."""
