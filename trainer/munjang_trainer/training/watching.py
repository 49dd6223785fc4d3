"""Evaluation while training: the figures of some sets, by the very functions that `evaluate` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sentence_transformers.base.evaluation import BaseEvaluator

from munjang_trainer.evaluation.figures import judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from munjang_trainer.data.table import Table


class Watch(BaseEvaluator):
    """Figures `set.metric` of the model in training, with the prompt that it is trained with."""

    def __init__(self, tables: Mapping[str, Table], prompt: str, batch_size: int = 64) -> None:
        super().__init__()
        self._tables = tables
        self._prompt = prompt
        self._batch_size = batch_size

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode and judge; `output_path`, `epoch` and `steps` are what the library passes to every evaluator."""
        del output_path, epoch, steps

        def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
            rows = model.encode(
                list(texts),
                prompt=self._prompt,
                batch_size=self._batch_size,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
            return rows.astype(np.float32)

        return {
            f"{name}.{figure}": value
            for name, table in self._tables.items()
            for figure, value in judge(table, vectors_of)[0].items()
        }
