"""Fast tokenising for transformer models: the model's own tokenizer without padding, cut at its limit.

Padding is left to the batch, so whatever a tokenizer.json carries of padding and truncation is switched off here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from munjang.encoder.contract import Tokens
from munjang.encoder.text import normalize
from munjang.errors import UnknownPrompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class TextTokenizer:
    """Turns prompted texts into `Tokens`. Safe to call from any thread.

    Args:
        tokenizer: a fast tokenizer of transformers; it is copied, not changed.
        max_tokens: the most tokens of one text, special tokens included.
        prompts: prompt texts by name.
        default_prompt: the name that "" stands for, or "".
        pools_prompt: whether the pooling reads the prompt's tokens; False makes `Tokens.prompt_tokens` count them.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        prompts: Mapping[str, str],
        default_prompt: str = "",
        *,
        pools_prompt: bool = True,
    ) -> None:
        self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens, direction=tokenizer.truncation_side)
        self._special = frozenset(tokenizer.all_special_ids)
        self._prompts = prompts
        self._default = default_prompt
        self._skips = {name: 0 if pools_prompt else self._prompt_tokens(text) for name, text in prompts.items()}

    def __call__(self, texts: Sequence[str], prompt_name: str = "") -> list[Tokens]:
        """Tokenise texts under a prompt.

        Raises:
            UnknownPrompt: there is no prompt of that name.
            InvalidText: a text is not valid Unicode.
        """
        prompt = prompt_text(self._prompts, prompt_name, self._default)
        skip = self._skips.get(prompt_name or self._default, 0)
        encodings = self._tokenizer.encode_batch_fast([prompt + text for text in normalize(texts)])
        return [
            Tokens(
                ids=tuple(encoding.ids),
                type_ids=tuple(encoding.type_ids) if any(encoding.type_ids) else (),
                prompt_tokens=skip,
                truncated=bool(encoding.overflowing),
            )
            for encoding in encodings
        ]

    def _prompt_tokens(self, prompt: str) -> int:
        """Leading tokens that a prompt takes, a beginning special token included and an ending one not."""
        ids = self._tokenizer.encode(prompt).ids if prompt else []
        return len(ids) - 1 if ids and ids[-1] in self._special else len(ids)


def prompt_text(prompts: Mapping[str, str], name: str, default: str) -> str:
    """The words of a named prompt; "" is the default one.

    Raises:
        UnknownPrompt: there is no prompt of that name.
    """
    chosen = name or default
    if not chosen:
        return ""
    try:
        return prompts[chosen]
    except KeyError:
        known = ", ".join(sorted(prompts)) or "none"
        msg = f"the model has no prompt {chosen!r}; it has: {known}"
        raise UnknownPrompt(msg, field="options.prompt_name") from None
