"""What a teacher says of the texts of a table: the labels that a student learns by distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from munjang_trainer.data.table import Table
    from munjang_trainer.recipe.stages import Teacher


def teach(table: Table, teacher: SentenceTransformer, part: Teacher) -> Dataset:
    """Each different text once, with the teacher's vector as float32 label.

    Raises:
        ConfigurationError: the teacher has no such prompt, or gives values that are not finite.
    """
    if part.prompt and part.prompt not in teacher.prompts:
        msg = f"the teacher has no prompt {part.prompt!r}; it has {', '.join(teacher.prompts) or 'none'}"
        raise ConfigurationError(msg, field="stages.datasets.teacher.prompt")
    texts = list(dict.fromkeys(table.texts()))
    vectors = teacher.encode(
        texts, prompt_name=part.prompt or None, convert_to_numpy=True, show_progress_bar=False, batch_size=64
    ).astype(np.float32)
    if not np.isfinite(vectors).all():
        msg = "the teacher makes vectors that are not finite (NaN or infinity)"
        raise ConfigurationError(msg, field="stages.datasets.teacher")
    return Dataset.from_dict({"text": texts, "label": list(vectors)})
