"""Fast tokenising for transformer models: the model's own tokenizer without padding, cut at its limit.

The batch adds padding, so the padding and truncation settings of a tokenizer.json are switched off here.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakSet

from tokenizers import Encoding, Tokenizer

from munjang.encoder.contract import Piece, Prompting, Tokens
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
        self.rules = rules
        self._tokenizer = self._cutting_at(rules.max_tokens)
        shorter = {length: self._cutting_at(length) for length in set(rules.role_tokens.values())}
        self._of_role: dict[str, Tokenizer] = {role: shorter[length] for role, length in rules.role_tokens.items()}
        self._skips = {text: self._prompt_tokens(text) for text in rules.prompts.values()}

    def __call__(self, texts: Sequence[str], how: Prompting) -> list[Tokens]:
        """Tokenise texts with the words of a prompt before each, cut at the limit of what they are for.

        Raises:
            InvalidText: a text is not valid Unicode.
        """
        prompt = how.prompt
        skip = self._skips.get(prompt)
        if skip is None:
            skip = self._prompt_tokens(prompt)
        tokenizer = self._of_role.get(how.role or "", self._tokenizer)
        encodings = tokenizer.encode_batch_fast([prompt + text for text in normalize(texts)])
        return [
            Tokens(
                ids=tuple(encoding.ids),
                type_ids=tuple(encoding.type_ids) if any(encoding.type_ids) else (),
                prompt_tokens=skip,
                truncated=bool(encoding.overflowing),
            )
            for encoding in encodings
        ]

    def pieces(self, texts: Sequence[str], prompt: str, special: bool) -> list[list[Piece]]:
        """See `Encoder.pieces`."""
        prompted = [prompt + text for text in normalize(texts)]
        encodings = self._tokenizer.encode_batch(prompted, add_special_tokens=special)
        return [_pieces(text, encoding) for text, encoding in zip(prompted, encodings, strict=True)]

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

    def _cutting_at(self, length: int) -> Tokenizer:
        tokenizer: Tokenizer = Tokenizer.from_str(self.rules.tokenizer)
        tokenizer.encode_special_tokens = self.rules.splits_special_tokens
        tokenizer.no_padding()
        tokenizer.enable_truncation(length, direction=self.rules.truncation_side)
        return tokenizer

    def _prompt_tokens(self, prompt: str) -> int:
        """Leading tokens that the pooling leaves out, a beginning special token included and an ending one not."""
        if self.rules.pools_prompt or not prompt:
            return 0
        ids = self._tokenizer.encode(prompt).ids
        return len(ids) - 1 if ids and ids[-1] in self.rules.special_ids else len(ids)


def _pieces(text: str, encoding: Encoding) -> list[Piece]:
    """The pieces of a text, those that were cut off among them: the tokenizer gives them in parts of their own."""
    parts = [
        [*zip(part.ids, part.tokens, part.offsets, part.special_tokens_mask, strict=True)] for part in _parts(encoding)
    ]
    found: list[Piece] = []
    for number, part in enumerate(parts):
        inner = [index for index, (_, _, _, special) in enumerate(part) if not special]
        first = 0 if number == 0 or not inner else inner[0]
        last = len(part) if number == len(parts) - 1 or not inner else inner[-1] + 1
        for id_, name, (start, stop), special in part[first:last]:
            found.append(
                Piece(id_, name, special=True, start=None, stop=None)
                if special
                else Piece(id_, text[start:stop], special=False, start=start, stop=stop)
            )
    return found


def _parts(encoding: Encoding) -> list[Encoding]:
    """The encoding and what was cut off it, in the order of the text."""
    return sorted(
        [encoding, *encoding.overflowing], key=lambda part: max((stop for _, stop in part.offsets), default=0)
    )


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
