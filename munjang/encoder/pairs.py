"""How a query and a document become one sequence of tokens for a cross-encoder. Pure functions of token ids.

A tokenizer puts special tokens before, between and behind the two, and cuts the longer one first. Both are done here,
so that a query is tokenised once for all its documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from munjang.encoder.contract import Tokens

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Ids = tuple[int, ...]

QUERY, DOCUMENT = 0, 1
"""The numbers of the two sequences of a pair, as tokenizers count them."""


@dataclass(frozen=True, slots=True)
class Side:
    """One text of a pair: its first ids, or its last where texts lose their beginning, and how many it has in all."""

    ids: Ids
    length: int

    @classmethod
    def of(cls, encoding: Encoding) -> Side:
        """What a tokenizer made of a text without special tokens; what it cut off is in `overflowing`."""
        return cls(tuple(encoding.ids), len(encoding.ids) + sum(len(piece.ids) for piece in encoding.overflowing))


@dataclass(frozen=True, slots=True)
class PairFrame:
    """The special tokens around and between the two texts of a pair, and the token type of each part.

    Attributes:
        special: the ids before the query, between it and the document, and behind the document.
        types: the token types of these three, and of query and document.
    """

    special: tuple[Ids, Ids, Ids]
    types: tuple[Ids, Ids, Ids]
    type_of_query: int
    type_of_document: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> PairFrame:
        """Read off what the tokenizer makes of a pair of one letter each."""
        found = tokenizer.encode("a", "b")
        owners = found.sequence_ids
        first, last = owners.index(QUERY), len(owners) - owners[::-1].index(QUERY)
        second, end = owners.index(DOCUMENT), len(owners) - owners[::-1].index(DOCUMENT)
        parts = (slice(0, first), slice(last, second), slice(end, None))
        ids, types = tuple(found.ids), tuple(found.type_ids)
        return cls(
            (ids[parts[0]], ids[parts[1]], ids[parts[2]]),
            (types[parts[0]], types[parts[1]], types[parts[2]]),
            types[first],
            types[second],
        )

    def join(self, query: Side, document: Side, most: int, *, left: bool) -> Tokens:
        """A pair of at most `most` tokens; `left`: a text that is cut loses its beginning."""
        before, between, behind = self.special
        kept = longest_first(query.length, document.length, most - len(before) - len(between) - len(behind))
        asked, given = (_cut(side.ids, size, left=left) for side, size in zip((query, document), kept, strict=True))
        types = (
            *self.types[0],
            *(self.type_of_query,) * len(asked),
            *self.types[1],
            *(self.type_of_document,) * len(given),
            *self.types[2],
        )
        return Tokens(
            ids=before + asked + between + given + behind,
            type_ids=types if any(types) else (),
            truncated=kept != (query.length, document.length),
        )


def longest_first(query: int, document: int, room: int) -> tuple[int, int]:
    """How many tokens of each text are kept, so that both fit: the longer one is cut first, then both alike.

    The rule of the tokenizers library (its strategy `longest_first`), rounding included.
    """
    if query + document <= room:
        return query, document
    short, long = sorted((query, document))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (short, long) if query <= document else (long, short)


def _cut(ids: Ids, size: int, *, left: bool) -> Ids:
    return ids[len(ids) - size :] if left else ids[:size]
