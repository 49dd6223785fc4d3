"""Rows before the model: each text checked and tokenised. A bad row becomes a problem, never an end.

What is kept of a text is its tokens, so that a block of long texts takes no more memory than one of short ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from munjang.errors import UnknownPrompt
from munjang_worker.reading.block import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from munjang.encoder.contract import Encoder, Tokens
    from munjang_worker.reading.block import Block

MESSAGE_CHARS = 300
"""The most of a library's message that goes into the error file."""


@dataclass(slots=True)
class Prepared:
    """Consecutive rows, tokenised.

    Attributes:
        first: the first row's number in the whole input.
        table: id and carried columns.
        tokens: of the good rows, by position.
        problems: why the others have none, by position.
    """

    first: int
    table: pa.Table
    tokens: dict[int, Tokens]
    problems: dict[int, Problem]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.table)


class Preparer:
    """Checks and tokenises with one encoder and one set of options. May run beside the encoder's forward."""

    def __init__(self, encoder: Encoder, *, prompt_name: str, cut: bool, max_chars: int) -> None:
        """Choose how.

        Args:
            encoder: whose tokenizer it is.
            prompt_name: the prompt to put before each text; "" is the model's default.
            cut: cut texts at the model's limit; else such a row is a problem.
            max_chars: longer texts are a problem.
        """
        self._encoder = encoder
        self._prompt_name = prompt_name
        self._cut = cut
        self._max_chars = max_chars

    def __call__(self, block: Block) -> Prepared:
        """Check and tokenise some rows."""
        problems = dict(block.problems)
        good: dict[int, str] = {}
        for position, text in enumerate(block.texts):
            if position in problems:
                continue
            problem = self._check(text)
            if problem:
                problems[position] = problem
            else:
                good[position] = str(text)
        tokens = self._tokenize(good, problems)
        if not self._cut:
            limit = self._encoder.info.max_tokens
            for position in [position for position, found in tokens.items() if found.truncated]:
                del tokens[position]
                problems[position] = Problem("TEXT_TOO_LONG", f"the text has more than the model's {limit} tokens")
        return Prepared(block.first, block.table, tokens, problems)

    def _check(self, text: object) -> Problem | None:
        if text is None:
            return Problem("NULL_TEXT", "the text is null")
        if not isinstance(text, str):
            return Problem("NOT_TEXT", f"the text column holds {type(text).__name__}")
        if not text.strip():
            return Problem("EMPTY_TEXT", "the text is empty or only white space")
        if len(text) > self._max_chars:
            return Problem("TEXT_TOO_LONG", f"the text has {len(text)} characters; at most {self._max_chars} are read")
        if not _is_valid(text):
            return Problem("INVALID_TEXT", "the text is not valid in the file's encoding, or holds unpaired surrogates")
        return None

    def _tokenize(self, texts: dict[int, str], problems: dict[int, Problem]) -> dict[int, Tokens]:
        if not texts:
            return {}
        try:
            found = self._encoder.tokenize(list(texts.values()), self._prompt_name)
            return dict(zip(texts, found, strict=True))
        except UnknownPrompt:
            raise
        except Exception:  # noqa: BLE001 - one text that breaks the tokenizer must not take the others with it
            return self._tokenize_singly(texts, problems)

    def _tokenize_singly(self, texts: dict[int, str], problems: dict[int, Problem]) -> dict[int, Tokens]:
        tokens = {}
        for position, text in texts.items():
            try:
                tokens[position] = self._encoder.tokenize([text], self._prompt_name)[0]
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's problem
                problems[position] = failure(error)
        return tokens


def join(parts: Sequence[Prepared]) -> Prepared:
    """Parts that follow each other, as one."""
    if len(parts) == 1:
        return parts[0]
    tokens: dict[int, Tokens] = {}
    problems: dict[int, Problem] = {}
    for part in parts:
        shift = part.first - parts[0].first
        tokens |= {position + shift: found for position, found in part.tokens.items()}
        problems |= {position + shift: found for position, found in part.problems.items()}
    return Prepared(parts[0].first, pa.concat_tables([part.table for part in parts]), tokens, problems)


def failure(error: Exception) -> Problem:
    """What went wrong with one row."""
    return Problem("ENCODE_FAILED", f"{type(error).__name__}: {error}"[:MESSAGE_CHARS])


def _is_valid(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
