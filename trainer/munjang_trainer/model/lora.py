"""Training low-rank additions (LoRA, arXiv:2106.09685) instead of all weights, and merging them in afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from munjang.errors import ConfigurationError
from munjang_trainer.model.base import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from munjang_trainer.recipe.model import Lora


def add_lora(model: SentenceTransformer, part: Lora) -> None:
    """Freeze the model and put trainable additions beside its linear layers.

    Raises:
        ConfigurationError: the model has no layers of these names.
    """
    from peft import LoraConfig, TaskType  # noqa: PLC0415 - seconds of import, for recipes with lora only

    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=part.rank,
        lora_alpha=part.alpha,
        lora_dropout=part.dropout,
        target_modules=list(part.modules),
    )
    try:
        model.add_adapter(config)
    except ValueError as error:
        msg = f"the model has no layers named {', '.join(part.modules)}: {error}"
        raise ConfigurationError(msg, field="model.lora.modules") from error


def merge_lora(start: Path, trained: SentenceTransformer, work: Path) -> SentenceTransformer:
    """The start model with the trained additions merged into its weights: a plain model again."""
    from peft import PeftModel  # noqa: PLC0415 - the same

    trained.transformers_model.save_pretrained(work)
    merged = load_model(start)
    adapted = PeftModel.from_pretrained(merged.transformers_model, str(work))
    merged[0].model = adapted.merge_and_unload()
    return merged
