"""Fast tokenising for transformer models: the model's own tokenizer without padding, cut at its limit.

The batch adds padding, so the padding and truncation settings of a tokenizer.json are switched off here.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakSet

from tokenizers import Tokenizer

from munjang.encoder.contract import Prompting, Tokens
from munjang.encoder.pairs import PairFrame, Side
from munjang.encoder.prompting import prompting
from munjang.errors import InvalidText
from munjang.normalization import nfc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from munjang.encoder.model_rules import Rules

PIECE_CHARS = 65_536
"""The most characters to tokenise at a time, but for a single longer text."""


def tokenizer_for(rules: Rules) -> TextTokenizer:
    """One for these rules, shared with the models in memory that have the same: versions of a model mostly do.

    To make one takes a tenth of a second in which no other thread of Python runs.
    """
    for living in list(_living):
        if living.rules == rules:
            return living
    made = TextTokenizer(rules)
    _living.add(made)
    return made


class TextTokenizer:
    """Turns prompted texts into `Tokens` by a model's rules. Safe to call from any thread."""

    def __init__(self, rules: Rules) -> None:
        self._tokenizer: Tokenizer = Tokenizer.from_str(rules.tokenizer)
        self._tokenizer.encode_special_tokens = rules.splits_special_tokens
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(rules.max_tokens, direction=rules.truncation_side)
        self.rules = rules
        self._skips = {text: self._prompt_tokens(text) for text in rules.prompts.values()}

    def __call__(self, texts: Sequence[str], how: Prompting) -> list[Tokens]:
        """Tokenise texts with the words of a prompt before each; what they are for changes nothing else here.

        Raises:
            InvalidText: a text is not valid Unicode.
        """
        prompt = how.prompt
        skip = self._skips.get(prompt)
        if skip is None:
            skip = self._prompt_tokens(prompt)
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

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Tokenise queries with their documents, each text once; the default prompt goes before the query.

        Raises:
            InvalidText: a text is not valid Unicode.
        """
        rules = self.rules
        prompt = prompting(rules).prompt
        queries = self._sides([prompt + query for query, _ in pairs])
        documents = self._sides([document for _, document in pairs])
        left = rules.truncation_side == "left"
        return [
            self._pair_frame.join(queries[prompt + query], documents[document], rules.max_tokens, left=left)
            for query, document in pairs
        ]

    def _sides(self, texts: Sequence[str]) -> dict[str, Side]:
        different = list(dict.fromkeys(texts))
        encodings = self._tokenizer.encode_batch_fast(normalize(different), add_special_tokens=False)
        return dict(zip(different, map(Side.of, encodings), strict=True))

    @cached_property
    def _pair_frame(self) -> PairFrame:
        return PairFrame.of(self._tokenizer)

    def _prompt_tokens(self, prompt: str) -> int:
        """Leading tokens that the pooling leaves out, a beginning special token included and an ending one not."""
        if self.rules.pools_prompt or not prompt:
            return 0
        ids = self._tokenizer.encode(prompt).ids
        return len(ids) - 1 if ids and ids[-1] in self.rules.special_ids else len(ids)


_living: WeakSet[TextTokenizer] = WeakSet()


def in_pieces(texts: Sequence[str], prompt: str = "") -> Iterator[Sequence[str]]:
    """Consecutive texts to tokenise at a time: few, so that those of a caller who has gone cost little.

    Whoever tokenises many texts asks the tokenizer for one piece after the other. A text takes up to ten microseconds
    and a kilobyte for each of its characters, and of the prompt before it.
    """
    start = characters = 0
    for index, text in enumerate(texts):
        size = len(prompt) + len(text)
        if characters + size > PIECE_CHARS and index > start:
            yield texts[start:index]
            start, characters = index, 0
        characters += size
    yield texts[start:]


def normalize(texts: Sequence[str]) -> list[str]:
    """Compose each text to NFC, so that decomposed Hangul (NFD, as macOS file names have it) equals composed Hangul.

    Raises:
        InvalidText: a text holds an unpaired surrogate, which no encoding can carry; `index` says which.
    """
    return [_normalize(text, index) for index, text in enumerate(texts)]


def _normalize(text: str, index: int) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"the text is not valid Unicode at character {error.start}: {error.reason}"
        raise InvalidText(msg, field="texts", index=index) from error
    return nfc(text)
