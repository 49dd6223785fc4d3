"""Counting the tokens of texts, for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from munjang.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def token_counter(name: str) -> Callable[[Sequence[str]], list[int]]:
    """What counts the tokens of texts, special ones included, by the tokenizer of a model folder or hub id.

    Raises:
        ConfigurationError: there is no such tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        msg = f"{name!r} has no tokenizer that can be loaded: {error}"
        raise ConfigurationError(msg, field="tokenizer") from error

    def count(texts: Sequence[str]) -> list[int]:
        encoded = tokenizer(list(texts), add_special_tokens=True, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return count
