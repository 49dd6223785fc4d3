"""Makes a model smaller: drops layers, and removes the embeddings of tokens that a corpus never uses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from munjang.errors import ConfigurationError
from munjang.normalization import nfc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def prune_layers(model: SentenceTransformer, count: int) -> list[int]:
    """Leave `count` layers in place, the first and the last among them; returns which.

    Raises:
        ConfigurationError: the model has fewer layers, or keeps them in a way that is not known here.
    """
    transformer = model.transformers_model
    total = getattr(transformer.config, "num_hidden_layers", 0)
    if not 0 < count <= total:
        msg = f"{count} layers cannot be kept of a model that has {total}"
        raise ConfigurationError(msg, field="model.shrink.layers")
    stacks = [
        (module, name, child)
        for module in transformer.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    if len(stacks) != 1:
        msg = f"{type(transformer).__name__} does not keep its layers in one list: they cannot be dropped"
        raise ConfigurationError(msg, field="model.shrink.layers")
    kept = evenly_spaced(total, count)
    owner, name, layers = stacks[0]
    setattr(owner, name, nn.ModuleList(layers[position] for position in kept))
    config = transformer.config
    config.num_hidden_layers = count
    if len(getattr(config, "layer_types", None) or ()) == total:
        config.layer_types = [config.layer_types[position] for position in kept]
    return kept


def evenly_spaced(total: int, count: int) -> list[int]:
    """`count` positions of `total`, evenly spread from the first to the last."""
    if count == 1:
        return [0]
    return [round(position * (total - 1) / (count - 1)) for position in range(count)]


STALE = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
"""Older forms of the tokenizer, which would still name the whole vocabulary."""

TEXTS_AT_ONCE = 10_000


def prune_vocabulary(model: SentenceTransformer, texts: Sequence[str], work: Path) -> SentenceTransformer:
    """The model with only the tokens that the texts (and its prompts) use; other texts fall into smaller pieces.

    Texts of the corpus keep their tokens, and so their vectors.

    Args:
        model: any model with a fast tokenizer; it is changed.
        texts: the corpus.
        work: a folder for temporary model files.

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
    (work / "tokenizer.json").write_text(
        json.dumps(pruned_tokenizer(content, kept), ensure_ascii=False), encoding="utf-8"
    )
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


MARKS = ("▁", "##", "Ġ")
"""The prefixes of pieces: Unigram and BPE mark the start of a word, WordPiece its inside."""


def kept_ids(content: dict[str, Any], used: Iterable[int]) -> list[int]:
    """The ids to keep, ascending: used ones, special ones, single characters, bytes, and what those are merged from.

    Args:
        content: tokenizer.json.
        used: the ids that the corpus uses.
    """
    pieces = _pieces(content)
    kept = set(used) | {token["id"] for token in content.get("added_tokens", [])}
    kept |= {number for piece, number in pieces.items() if _is_small(piece)}
    model = content["model"]
    if model["type"] == "Unigram":
        # the least likely piece decides the cost of an unknown character, and so how texts are split
        kept.add(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
        kept.add(model["unk_id"])
    for first, second in reversed(_merges(content)):
        if pieces.get(first + second) in kept:
            kept |= {pieces[first], pieces[second]}
    return sorted(kept & (set(pieces.values()) | {token["id"] for token in content.get("added_tokens", [])}))


def pruned_tokenizer(content: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """The tokenizer's file with the kept tokens only, renumbered in their order.

    Raises:
        ConfigurationError: a kind of tokenizer that is not known here.
    """
    new = {old: number for number, old in enumerate(kept)}
    model = dict(content["model"])
    match model["type"]:
        case "Unigram":
            model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new]
            model["unk_id"] = new[model["unk_id"]]
        case "WordPiece" | "BPE":
            model["vocab"] = {piece: new[number] for piece, number in model["vocab"].items() if number in new}
            if "merges" in model:
                known = model["vocab"]
                model["merges"] = [
                    pair
                    for pair in _merges(content)
                    if pair[0] in known and pair[1] in known and "".join(pair) in known
                ]
        case other:
            msg = f"a {other} tokenizer cannot be shortened: only Unigram, WordPiece and BPE"
            raise ConfigurationError(msg, field="model.shrink.vocabulary")
    added = [token | {"id": new[token["id"]]} for token in content.get("added_tokens", [])]
    return content | {
        "model": model,
        "added_tokens": added,
        "post_processor": _renumbered(content.get("post_processor"), new),
    }


def _pieces(content: dict[str, Any]) -> dict[str, int]:
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return dict(vocabulary)
    return {piece: number for number, (piece, _) in enumerate(vocabulary)}


def _merges(content: dict[str, Any]) -> list[list[str]]:
    merges = content["model"].get("merges") or []
    return [merge.split(" ") if isinstance(merge, str) else list(merge) for merge in merges]


def _is_small(piece: str) -> bool:
    """A single character (as one code point, or as a byte), alone or after a mark."""
    for mark in MARKS:
        piece = piece.removeprefix(mark)
    if piece.startswith("<0x") and piece.endswith(">"):
        return True
    return len(nfc(piece)) <= 1


def _renumbered(part: Any, new: dict[int, int]) -> Any:
    """A post-processor with its special tokens' ids replaced: `ids: [...]` in templates, `["[SEP]", 3]` in BERT's."""
    if isinstance(part, list):
        is_pair = len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int)  # noqa: PLR2004 - a pair
        return [part[0], new[part[1]]] if is_pair else [_renumbered(item, new) for item in part]
    if isinstance(part, dict):
        return {
            key: [new[number] for number in value] if key == "ids" else _renumbered(value, new)
            for key, value in part.items()
        }
    return part
