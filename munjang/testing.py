"""Fakes for tests without weights: an encoder that computes, fails and stalls on demand.

Ships with the package, so users can test their own programs with it. Fakes are for unit tests; integration tests
use the real thing.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from munjang.encoder.contract import Cancellation, ModelInfo, Piece, Prompting, Tokens
from munjang.encoder.prompting import prompting
from munjang.errors import InvalidText, WrongKind
from munjang.kinds import ModelKind
from munjang.normalization import nfc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POISON = "독"
"""FakeEncoder.forward fails on every batch with a text that begins with this word."""


@dataclass
class FakeEncoder:
    """An `Encoder` of one token per character whose vectors depend on the text alone.

    Attributes:
        info: what it claims to be.
        seed: encoders with different seeds give different vectors, as different versions do.
        memory_tokens: a forward of more tokens than this raises MemoryError.
        gate: `forward` waits until it is set (it is at first), or until it is cancelled: clear it to simulate a stuck
            engine.
        failing: set it to make every forward raise RuntimeError.
        streams: how many forwards with `share` can run at the same time; this is only a number.
        on_cpu: whether it claims to compute on a CPU.
        packs: whether batches are planned as for a model whose texts share rows.
        routed: whether texts of different roles get different vectors, as from a model with a route for each.
        batches: the size of every batch that was run, for tests to read.
    """

    info: ModelInfo = field(default_factory=lambda: ModelInfo(8, 128, prompts={"query": "질문: "}, int8_scale=1 / 127))
    seed: int = 0
    memory_tokens: int = 1 << 30
    gate: threading.Event = field(default_factory=threading.Event)
    failing: bool = False
    streams: int = 1
    packs: bool = False
    routed: bool = False
    on_cpu: bool = True
    batches: list[int] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        """Open the gate."""
        self.gate.set()

    def tokenize(self, texts: Sequence[str], how: Prompting | None = None) -> list[Tokens]:
        """One token per character of the prompted NFC text, between two special tokens."""
        chosen = how or prompting(self.info)
        return [self._tokens(chosen, text, index) for index, text in enumerate(texts)]

    def pieces(self, texts: Sequence[str], prompt: str, *, special: bool) -> list[list[Piece]]:
        """One piece per character, between two special ones."""
        begin, end = (
            Piece(1, "<s>", special=True, start=None, stop=None),
            Piece(2, "</s>", special=True, start=None, stop=None),
        )
        shown = []
        for text in texts:
            characters = [
                Piece(ord(character), character, special=False, start=index, stop=index + 1)
                for index, character in enumerate(prompt + nfc(text))
            ]
            shown.append([begin, *characters, end] if special else characters)
        return shown

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """The characters of query and document between special tokens; a document that is too long is cut.

        Raises:
            WrongKind: `info` is not that of a cross-encoder.
        """
        if self.info.kind is not ModelKind.CROSS_ENCODER:
            msg = "the fake encoder claims to be a dense model"
            raise WrongKind(msg)
        read = [(*map(ord, nfc(query)), 2, *map(ord, nfc(document))) for query, document in pairs]
        room = self.info.max_tokens - 2
        return [Tokens(ids=(1, *characters[:room], 2), truncated=len(characters) > room) for characters in read]

    def forward(
        self,
        batch: Sequence[Tokens],
        *,
        share: bool = False,  # noqa: ARG002 - all forwards run on the thread that calls
        cancellation: Cancellation | None = None,
    ) -> NDArray[np.float32]:
        """Vectors made of a hash of the tokens, float32 [n, dimensions]."""
        self._wait(cancellation)
        self.batches.append(len(batch))
        if self.failing:
            msg = "the fake engine fails"
            raise RuntimeError(msg)
        if sum(map(len, batch)) > self.memory_tokens:
            raise MemoryError
        if any(chr(tokens.ids[1]) == POISON for tokens in batch if len(tokens) > 2):  # noqa: PLR2004 - special tokens
            msg = "the fake encoder was poisoned"
            raise RuntimeError(msg)
        return np.stack([self._vector(tokens) for tokens in batch])

    def computed(self, lengths: Sequence[int]) -> int:
        """No padding at all."""
        return sum(lengths)

    def tidy(self) -> None:
        """Do nothing: it holds no memory that could be released."""

    def close(self) -> None:
        """Record that it was closed."""
        self.closed = True

    def _wait(self, cancellation: Cancellation | None) -> None:
        if cancellation is None:
            self.gate.wait()
            return
        woken = threading.Event()
        with cancellation.stopping(woken.set):
            while not (self.gate.wait(0.01) or woken.is_set()):
                pass
        cancellation.check()

    def _tokens(self, how: Prompting, text: str, index: int) -> Tokens:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            msg = f"text {index} is not valid Unicode: {error.reason}"
            raise InvalidText(msg, field="texts", index=index) from error
        characters = [ord(character) for character in how.prompt + nfc(text)]
        room = self.info.max_tokens - 2
        role = how.role if self.routed else None
        return Tokens(ids=(1, *characters[:room], 2), truncated=len(characters) > room, role=role)

    def _vector(self, tokens: Tokens) -> NDArray[np.float32]:
        digest = hashlib.sha256(repr((self.seed, tokens.ids, tokens.role)).encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return generator.standard_normal(self.info.dimensions).astype(np.float32)
