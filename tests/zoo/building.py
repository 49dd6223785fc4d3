"""Tiny models of random weights in the layout of real ones: transformers' own classes, saved as users have them.

`architecture` makes most of them; it gives a function that makes the folder, so that a row costs nothing until it is
tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoConfig, AutoModel

from tests.zoo import vocabularies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

WIDTH = 32
"""Dimensions of a token, and of most vectors."""

TOKENS = 64
"""The most tokens of a text, if a row does not say otherwise."""

GAIN = 2.0
"""How much larger a product is than what it multiplies: the last token of a text must differ from the others' last."""

Make = "Callable[[Path], object]"
"""What puts a model into a folder that does not exist yet."""


def architecture(
    model_type: str,
    tokenizer: Callable[[], Any] = vocabularies.wordpiece,
    *,
    pooling: str | tuple[str, ...] = "mean",
    include_prompt: bool = True,
    modules: Callable[[], Sequence[Any]] = tuple,
    prompts: Mapping[str, str] | None = None,
    default_prompt: str | None = None,
    max_tokens: int | None = TOKENS,
    transformer: Mapping[str, Any] | None = None,
    change: Callable[[Path], object] | None = None,
    dtype: torch.dtype = torch.float32,
    shard_size: str | None = None,
    **config: Any,
) -> Make:
    """A function that makes a sentence-transformers folder of one architecture.

    Args:
        model_type: the architecture, as transformers names it.
        tokenizer: makes its tokenizer.
        pooling: the mode or modes of pooling.
        include_prompt: whether the pooling reads the prompt's tokens.
        modules: makes the modules behind the pooling.
        prompts: by name.
        default_prompt: the name of the default one.
        max_tokens: `max_seq_length`; None names none.
        transformer: more of the `Transformer` module's options.
        change: spoils or changes the folder when it is saved.
        dtype: the number format of the weights on the disk.
        shard_size: the most bytes of a file of weights; None: one file.
        config: of the architecture, beside the sizes that most have; None takes one of these away.
    """

    def make(folder: Path) -> None:
        model = sentence_model(
            bare(folder, model_type, tokenizer(), dtype=dtype, shard_size=shard_size, **config),
            pooling=pooling,
            include_prompt=include_prompt,
            modules=modules,
            prompts=prompts,
            default_prompt=default_prompt,
            max_tokens=max_tokens,
            **(transformer or {}),
        )
        model.save(str(folder), create_model_card=False)
        if change is not None:
            change(folder)

    return make


def bare(
    folder: Path,
    model_type: str,
    tokenizer: Any,
    *,
    model_class: Any = AutoModel,
    dtype: torch.dtype = torch.float32,
    shard_size: str | None = None,
    **config: Any,
) -> Path:
    """The folder of a transformer alone, beside the one that is to be made."""
    made = configuration(model_type, tokenizer, **config)
    build = model_class.from_config if model_class.__name__.startswith("Auto") else model_class
    place = folder.with_name(f"{folder.name}-bare")
    model = shaken(build(made)).to(dtype)
    model.save_pretrained(place, **({"max_shard_size": shard_size} if shard_size else {}))
    tokenizer.save_pretrained(place)
    return place


def configuration(model_type: str, tokenizer: Any, **config: Any) -> Any:
    """That of a tiny model which has a row for each token of the tokenizer."""
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": TOKENS,
    }
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    options = sizes | ids | config
    return AutoConfig.for_model(model_type, **{name: value for name, value in options.items() if value is not None})


def shaken(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The model with weights whose vectors differ from text to text, which those that a class begins with hardly do."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            noise = torch.randn(weights.shape, generator=generator)
            if weights.dim() < 2:  # norms and biases
                weights.add_(0.1 * noise)
            elif "embed" in name or {"wte", "wpe", "shared"} & {*name.split(".")}:
                weights.copy_(noise)
            else:
                weights.copy_(GAIN * noise / weights[0].numel() ** 0.5)
    return model.eval()


def sentence_model(
    place: Path,
    *,
    pooling: str | tuple[str, ...] = "mean",
    include_prompt: bool = True,
    modules: Callable[[], Sequence[Any]] = tuple,
    prompts: Mapping[str, str] | None = None,
    default_prompt: str | None = None,
    max_tokens: int | None = TOKENS,
    **transformer: Any,
) -> SentenceTransformer:
    """A transformer's folder with a pooling and what follows it; see `architecture`."""
    first = Transformer(str(place), max_seq_length=max_tokens, **transformer)
    pooled = Pooling(first.get_embedding_dimension(), pooling_mode=pooling, include_prompt=include_prompt)
    torch.manual_seed(1)
    return SentenceTransformer(
        modules=[first, pooled, *modules()],
        prompts=dict(prompts or {}),
        default_prompt_name=default_prompt,
        device="cpu",
    )


def normalize() -> list[Any]:
    """What most models end with."""
    return [Normalize()]
