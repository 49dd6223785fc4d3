"""Which tokens of a tokenizer stay, and the tokenizer's file with only these. Knows the file's format, no model."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKS = ("▁", "##", "Ġ")
"""What vocabularies put before a piece: Unigram and BPE before a word, WordPiece inside one."""


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
        # the cost of an unknown character hangs on the least likely piece, and with it where texts are cut
        kept.add(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
        kept.add(model["unk_id"])
    for first, second in reversed(_merges(content)):
        if pieces.get(first + second) in kept:
            kept |= {pieces[first], pieces[second]}
    return sorted(kept & (set(pieces.values()) | {token["id"] for token in content.get("added_tokens", [])}))


def shortened(content: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """The tokenizer's file with the kept tokens only, numbered anew in their order.

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
    return len(unicodedata.normalize("NFC", piece)) <= 1


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
