"""How the texts of a forward lie in rows: short ones share a row, so that hardly anything of it is padding.

A model that reads rows with several texts (see `pipeline`) has them packed; another has one text a row, and texts of
like length run together. Either way a batch may hold texts of any lengths, in any order. Pure functions of lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHORT = 64
"""Texts up to so many tokens share rows; a longer one begins a row, and short ones fill it up."""

SHARED_WIDTHS = (64, 96, 128, 192)
"""Rows that short texts may share. Wider rows waste less at their ends, and attention costs more."""

START = 20
"""What another frame costs, in tokens: about as much as a forward of one token takes."""

ATTENTION = 1500
"""In rows of so many tokens, attention costs as much as all else: 6 × the hidden size would do so in operations."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of one width that are one call of the model.

    Attributes:
        width: tokens of a row.
        rows: the positions of the texts in each row, in the order in which they lie.
    """

    width: int
    rows: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """What is computed: tokens and padding."""
        return self.width * len(self.rows)

    @property
    def texts(self) -> list[int]:
        """The positions of all texts, row after row."""
        return [position for row in self.rows for position in row]


def lay_out(lengths: Sequence[int], *, packs: bool, start: int = START) -> tuple[Frame, ...]:
    """Frames that hold each text exactly once.

    Args:
        lengths: tokens of each text.
        packs: whether texts may share a row.
        start: what another frame costs, in tokens.
    """
    if len(lengths) == 1:
        return (Frame(round_up(lengths[0]), ((0,),)),)
    return _laid_out(tuple(lengths), packs, start)


@lru_cache(maxsize=16)  # of every batch it is asked twice: how much is computed, and how
def _laid_out(lengths: tuple[int, ...], packs: bool, start: int) -> tuple[Frame, ...]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    if not packs:
        return tuple(
            Frame(width, tuple((position,) for position in run)) for width, run in _runs(order, lengths, start)
        )
    split = next((place for place, position in enumerate(order) if lengths[position] <= SHORT), len(order))
    frames, left = _filled(_runs(order[:split], lengths, start), order[split:], lengths)
    if left:
        frames.append(_shared(left, lengths))
    together = Frame(round_up(sum(lengths)), (tuple(order),))
    return (together,) if together.width <= SHARED_WIDTHS[-1] and _cost([together]) < _cost(frames) else tuple(frames)


def computed(lengths: Sequence[int], *, packs: bool, start: int = START) -> int:
    """How many tokens a forward of these texts computes, padding included."""
    return sum(frame.tokens for frame in lay_out(lengths, packs=packs, start=start))


def round_up(length: int) -> int:
    """A width that fits: few different ones, since a runtime prepares itself anew for each."""
    step = 4 if length <= SHORT else 8
    return -(-length // step) * step


def _runs(order: Iterable[int], lengths: Sequence[int], start: int) -> list[tuple[int, list[int]]]:
    """One text a row: widths and texts, longest first; a run ends where its padding costs more than another frame."""
    runs: list[tuple[int, list[int]]] = []
    width = padding = 0
    for position in order:
        padding += width - lengths[position]
        if not runs or padding > start:
            width = round_up(lengths[position])
            padding = width - lengths[position]
            runs.append((width, []))
        runs[-1][1].append(position)
    return runs


def _filled(
    runs: list[tuple[int, list[int]]], short: Sequence[int], lengths: Sequence[int]
) -> tuple[list[Frame], list[int]]:
    """Frames of the runs with short texts in what is left of their rows, and the short texts that did not fit."""
    frames = []
    for width, run in runs:
        rows = _Rows(width)
        for position in run:
            rows.begin(position, lengths[position])
        short = [position for position in short if not rows.fit(position, lengths[position])]
        frames.append(rows.frame())
    return frames, list(short)


def _shared(short: Sequence[int], lengths: Sequence[int]) -> Frame:
    """The cheapest frame of short texts, longest first: best fit into rows of each width that could do."""
    longest = lengths[short[0]]
    together = round_up(sum(lengths[position] for position in short))
    widths = {round_up(longest), *(width for width in SHARED_WIDTHS if longest <= width < together)}
    frames = []
    for width in sorted(widths):
        rows = _Rows(width)
        for position in short:
            if not rows.fit(position, lengths[position]):
                rows.begin(position, lengths[position])
        frames.append(rows.frame())
    return min(frames, key=lambda frame: _cost([frame]))


def _cost(frames: Iterable[Frame]) -> float:
    return sum(START + frame.tokens * (1 + frame.width / ATTENTION) for frame in frames)


class _Rows:
    """Rows of one width while texts are put into them; each goes where it leaves least room, first row first."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[list[int]] = []
        self._by_room: list[list[int]] = [[] for _ in range(width + 1)]  # numbers of rows with so much room
        self._rooms = 0  # bit n is set where a row has room for n tokens

    def begin(self, position: int, length: int) -> None:
        """Put a text into a new row."""
        self._rows.append([])
        self._put(len(self._rows) - 1, self._width, position, length)

    def fit(self, position: int, length: int) -> bool:
        """Put a text into the fullest row that has room for it; False if none has."""
        fitting = self._rooms >> length
        if not fitting:
            return False
        room = length + (fitting & -fitting).bit_length() - 1
        rows = self._by_room[room]
        number = rows.pop()
        if not rows:
            self._rooms ^= 1 << room
        self._put(number, room, position, length)
        return True

    def frame(self) -> Frame:
        """What it came to."""
        return Frame(self._width, tuple(map(tuple, self._rows)))

    def _put(self, number: int, room: int, position: int, length: int) -> None:
        self._rows[number].append(position)
        left = room - length
        if left:
            self._by_room[left].append(number)
            self._rooms |= 1 << left
