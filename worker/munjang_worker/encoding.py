"""Blocks of rows to vectors: texts are checked and tokenized, tokens batched, batches forwarded.

A bad row, or one that the model fails on, becomes a problem and never ends the job. Only the tokens of a text are kept,
so a block of long texts takes no more memory than one of short texts. The batches of a block depend only on its texts,
so a row's vector does not depend on shards, workers or resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from rq.timeouts import BaseTimeoutException

from munjang.encoder.sequence_packing import plan
from munjang.encoder.tokenizer import in_pieces
from munjang.errors import EngineUnavailable
from munjang_worker.block import Problem, Rows, is_valid_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from munjang.encoder.contract import Encoder, Prompting, Tokens
    from munjang_worker.block import Block

PROBE = "문장"
"""A text that every model can encode: if it fails, the model is broken, not the row."""

MESSAGE_CHARS = 300
"""The most characters of a library's message in the error file."""


@dataclass(slots=True, kw_only=True)
class TokenizedBlock(Rows):
    """Tokenized rows; `tokens` holds those of the good rows, by position."""

    tokens: dict[int, Tokens]


@dataclass(slots=True, kw_only=True)
class EncodedBlock(Rows):
    """Encoded rows.

    Attributes:
        positions: the rows that have a vector, ascending.
        vectors: raw float32 [len(positions), dimensions], as the model gives them.
        tokens: how many the model read for the rows that have a vector.
        truncated: how many of those texts were cut.
    """

    positions: list[int]
    vectors: NDArray[np.float32]
    tokens: int
    truncated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTokenizer:
    """Checks and tokenizes texts with one set of options. May run beside the encoder's forward.

    Attributes:
        encoder: whose tokenizer it is.
        how: the words before each text, and what it is for.
        cut: cut texts at the model's limit; else such a row is a problem.
        max_chars: longer texts are a problem.
    """

    encoder: Encoder
    how: Prompting
    cut: bool
    max_chars: int

    def __call__(self, block: Block) -> TokenizedBlock:
        """Check and tokenize some rows."""
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
        if not self.cut:
            limit = self.encoder.info.max_tokens
            for position in [position for position, found in tokens.items() if found.truncated]:
                del tokens[position]
                problems[position] = Problem("TEXT_TOO_LONG", f"the text has more than the model's {limit} tokens")
        return TokenizedBlock(first=block.first, table=block.table, problems=problems, tokens=tokens)

    def _check(self, text: object) -> Problem | None:
        if text is None:
            return Problem("NULL_TEXT", "the text is null")
        if not isinstance(text, str):
            return Problem("NOT_TEXT", f"the text column holds {type(text).__name__}")
        if not text.strip():
            return Problem("EMPTY_TEXT", "the text is empty or only white space")
        if len(text) > self.max_chars:
            return Problem("TEXT_TOO_LONG", f"the text has {len(text)} characters; at most {self.max_chars} are read")
        if not is_valid_text(text):
            return Problem("INVALID_TEXT", "the text is not valid in the file's encoding, or holds unpaired surrogates")
        return None

    def _tokenize(self, texts: dict[int, str], problems: dict[int, Problem]) -> dict[int, Tokens]:
        """Tokenize texts in pieces, or one by one if that fails: a text that breaks the tokenizer is one problem."""
        if not texts:
            return {}
        try:
            pieces = in_pieces(list(texts.values()), self.how.prompt)
            found = [tokens for piece in pieces for tokens in self.encoder.tokenize(piece, self.how)]
            return dict(zip(texts, found, strict=True))
        except Exception as error:  # noqa: BLE001 - one text that breaks the tokenizer must not take the others with it
            if len(texts) == 1:
                problems[next(iter(texts))] = _failure(error)
                return {}
            singly = [self._tokenize({position: text}, problems) for position, text in texts.items()]
            return {position: tokens for one in singly for position, tokens in one.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEncoder:
    """Encodes blocks with one encoder.

    Attributes:
        encoder: the model.
        batch_tokens: the most tokens of one forward, padding included.
        poll: called between batches; what it raises is passed on.
        forwarded: called with the number of rows of every batch that was run.
    """

    encoder: Encoder
    batch_tokens: int
    poll: Callable[[], None] = lambda: None
    forwarded: Callable[[int], None] = lambda _: None

    def __call__(self, block: TokenizedBlock) -> EncodedBlock:
        """Run the model.

        Raises:
            EngineUnavailable: the model fails whatever the text.
        """
        order = sorted(block.tokens)
        rows = np.zeros((len(order), self.encoder.info.dimensions), np.float32)
        failed: dict[int, Problem] = {}
        tokens = [block.tokens[position] for position in order]
        for batch in plan([len(found) for found in tokens], self.batch_tokens, packs=self.encoder.packs):
            self.poll()
            self._forward(batch, tokens, rows, failed)
            self.forwarded(len(batch))
        for index in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
            failed.setdefault(int(index), Problem("ENCODE_FAILED", "the model gave values that are not finite"))
        kept = [index for index in range(len(order)) if index not in failed]
        return EncodedBlock(
            first=block.first,
            table=block.table,
            positions=[order[index] for index in kept],
            vectors=rows[kept] if failed else rows,
            problems=block.problems | {order[index]: problem for index, problem in failed.items()},
            tokens=sum(len(tokens[index]) for index in kept),
            truncated=sum(tokens[index].truncated for index in kept),
        )

    def _forward(
        self, batch: Sequence[int], tokens: Sequence[Tokens], rows: NDArray[np.float32], failed: dict[int, Problem]
    ) -> None:
        """Fill the rows of a batch; one that fails is halved until only the rows are left that fail alone."""
        try:
            rows[list(batch)] = self.encoder.forward([tokens[index] for index in batch])
        except BaseTimeoutException:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a text does to the model, the other rows go on
            if len(batch) == 1:
                self._require_engine(error)
                failed[batch[0]] = _failure(error)
                return
            self.poll()
            half = len(batch) // 2
            self._forward(batch[:half], tokens, rows, failed)
            self._forward(batch[half:], tokens, rows, failed)

    def _require_engine(self, cause: Exception) -> None:
        try:
            self.encoder.forward(self.encoder.tokenize([PROBE]))
        except BaseTimeoutException:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of the probe means the same
            msg = f"the model fails on every text: {_failure(error).message}"
            raise EngineUnavailable(msg) from cause


def join_blocks(parts: Sequence[TokenizedBlock]) -> TokenizedBlock:
    """Consecutive parts as one block."""
    if len(parts) == 1:
        return parts[0]
    tokens: dict[int, Tokens] = {}
    problems: dict[int, Problem] = {}
    for part in parts:
        shift = part.first - parts[0].first
        tokens |= {position + shift: found for position, found in part.tokens.items()}
        problems |= {position + shift: found for position, found in part.problems.items()}
    table = pa.concat_tables([part.table for part in parts])
    return TokenizedBlock(first=parts[0].first, table=table, problems=problems, tokens=tokens)


def _failure(error: Exception) -> Problem:
    """What went wrong with one row."""
    return Problem("ENCODE_FAILED", f"{type(error).__name__}: {error}"[:MESSAGE_CHARS])
