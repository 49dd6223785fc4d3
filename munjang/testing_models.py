"""Tiny real models for tests: random weights in a real architecture, saved as sentence-transformers folders."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4)]
"""All Hangul syllables; whatever else is not ASCII is unknown to a tiny model."""


WITH_TYPES = ("bert", "electra", "albert")
"""Architectures that tell query and document of a pair apart by token types."""


def tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    dimensions: int = 32,
    max_tokens: int = 64,
    prompts: dict[str, str] | None = None,
    pooling: str = "mean",
    include_prompt: bool = True,
    normalize: bool = False,
    architecture: str = "bert",
    layers: int = 2,
    heads: int = 2,
    padding_side: str = "right",
    config: Mapping[str, object] | None = None,
) -> Path:
    """Save a transformer of random weights that reads Korean by the character; the same seed gives the same weights.

    `architecture` is a name that transformers knows, and `config` what its configuration has beside the usual names.
    Returns the folder.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer(max_tokens)
    tokenizer.padding_side = padding_side
    usual = {
        "vocab_size": len(tokenizer),
        "hidden_size": dimensions,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * dimensions,
        "max_position_embeddings": max_tokens + 2,  # RoBERTa and its kin begin behind the padding's own
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    bare = folder.with_name(folder.name + "-bare")
    AutoModel.from_config(AutoConfig.for_model(architecture, **{**usual, **(config or {})})).save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    transformer = Transformer(str(bare), max_seq_length=max_tokens)
    modules = [transformer, Pooling(dimensions, pooling_mode=pooling, include_prompt=include_prompt)]
    model = SentenceTransformer(
        modules=[*modules, Normalize()] if normalize else modules,
        prompts=prompts or {"query": "질문: "},
        device="cpu",
    )
    model.save(str(folder))
    return folder


def tiny_cross_encoder(
    folder: Path,
    *,
    seed: int = 0,
    dimensions: int = 32,
    max_tokens: int = 64,
    architecture: str = "bert",
    layers: int = 2,
    heads: int = 2,
    modules: bool = True,
    labels: int = 1,
    activation: torch.nn.Module | None = None,
    **config: object,
) -> Path:
    """Save a cross-encoder of random weights, as `tiny_model` does a dense model. Returns the folder.

    `modules`: in the form that sentence-transformers 6 saves; else a transformer alone, as it was before.
    `config` are further values of the transformer's configuration.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer(max_tokens, with_types=architecture in WITH_TYPES)
    made = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=dimensions,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * dimensions,
        max_position_embeddings=max_tokens + 2,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        num_labels=labels,
        **config,
    )
    bare = folder.with_name(folder.name + "-bare") if modules else folder
    AutoModelForSequenceClassification.from_config(made).save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    if modules:
        CrossEncoder(str(bare), device="cpu", activation_fn=activation).save(str(folder))
    return folder


def _tokenizer(max_tokens: int, *, with_types: bool = False) -> PreTrainedTokenizerFast:
    pieces = [*SPECIAL, *string.printable.strip(), *SYLLABLES]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    vocabulary |= {f"##{piece}": len(vocabulary) + index for index, piece in enumerate(SYLLABLES)}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    inputs = ["input_ids", *(["token_type_ids"] if with_types else []), "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=core, model_max_length=max_tokens, model_input_names=inputs, **tokens
    )
