"""A smaller vocabulary: the embeddings of tokens that a corpus never uses are cut out of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from munjang.errors import ConfigurationError
from munjang_trainer.model.pieces import kept_ids, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STALE = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
"""Older forms of the tokenizer, which would still name the whole vocabulary."""

TEXTS_AT_ONCE = 10_000


def prune_vocabulary(model: SentenceTransformer, texts: Sequence[str], work: Path) -> SentenceTransformer:
    """The model with only the tokens that the texts (and its prompts) use; other texts fall into smaller pieces.

    Texts of the corpus keep their tokens, and so their vectors.

    Args:
        model: any model with a fast tokenizer; it is changed.
        texts: the corpus.
        work: a folder for the model's files on the way.

    Raises:
        ConfigurationError: the tokenizer is not a fast one, or of a kind that cannot be shortened.
    """
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        msg = "only the vocabulary of a fast tokenizer can be pruned"
        raise ConfigurationError(msg, field="model.shrink.vocabulary")
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = kept_ids(content, set(_used(tokenizer, texts, model.prompts.values())))
    _cut_embeddings(model, kept)
    model.save_pretrained(str(work), create_model_card=False)
    (work / "tokenizer.json").write_text(json.dumps(shortened(content, kept), ensure_ascii=False), encoding="utf-8")
    for name in STALE:
        (work / name).unlink(missing_ok=True)
    _forget_decoder(work / "tokenizer_config.json")
    return SentenceTransformer(str(work), device="cpu", trust_remote_code=False)


def _used(tokenizer: Any, texts: Sequence[str], prompts: Any) -> Iterator[int]:
    """Ids of all texts, alone and after each prompt: a prompt changes how the first word is cut."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = list(texts[start : start + TEXTS_AT_ONCE])
        for prompt in {"", *prompts}:
            for ids in tokenizer([prompt + text for text in chunk], verbose=False)["input_ids"]:
                yield from ids


def _cut_embeddings(model: SentenceTransformer, kept: list[int]) -> None:
    transformer = model.transformers_model
    old = transformer.get_input_embeddings()
    config = transformer.config
    new_id = {number: position for position, number in enumerate(kept)}
    padding = new_id.get(old.padding_idx) if old.padding_idx is not None else None
    embeddings = nn.Embedding(len(kept), old.embedding_dim, padding_idx=padding)
    embeddings.weight.data = old.weight.data[torch.tensor(kept)].clone()
    transformer.set_input_embeddings(embeddings)
    config.vocab_size = len(kept)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id"):
        number = getattr(config, name, None)
        if isinstance(number, int):
            setattr(config, name, new_id.get(number))


def _forget_decoder(path: Path) -> None:
    """tokenizer_config.json may list added tokens under their old ids; tokenizer.json says the same under the new."""
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        content.pop("added_tokens_decoder", None)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
