"""How the texts of a forward lie in rows: short ones share a row, so that hardly anything of it is padding.

A model that reads rows with several texts (see `pipeline`) has them packed; another has one text a row, and texts of
like length run together. Either way a batch may hold texts of any lengths, in any order. Pure functions of lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from munjang.encoder.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHORT = 64
"""Texts up to so many tokens share rows; a longer one begins a row, and short ones fill it up."""

SHARED_WIDTHS = (64, 96, 128, 192)
"""Rows that short texts may share. Wider rows waste less at their ends, and attention costs more."""

START = 20
"""What another frame costs, in tokens: about as much as a forward of one token takes."""

FEWER = (10, 50)
"""How many times as much padding as another frame costs is tried, where short texts may lie in its place."""

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

    def split(self, parts: int) -> list[Frame]:
        """At most so many frames of about as many rows each, in the order of the rows."""
        size = -(-len(self.rows) // parts)
        return [Frame(self.width, self.rows[start : start + size]) for start in range(0, len(self.rows), size)]


def lay_out(lengths: Sequence[int], *, packs: bool, start: int = START) -> tuple[Frame, ...]:
    """Frames that hold each text exactly once.

    Args:
        lengths: tokens of each text.
        packs: whether texts may share a row.
        start: what another frame costs, in tokens.
    """
    if len(lengths) == 1:
        return (Frame(round_up(lengths[0]), ((0,),)),)
    return _remembered(tuple(lengths), packs, start)


def arrange(lengths: Sequence[int], packs: bool, start: int = START) -> tuple[Frame, ...]:
    """What `lay_out` gives, worked out anew."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    if not order:
        return ()
    if not packs:
        return tuple(
            Frame(width, tuple((position,) for position in run)) for width, run in _runs(order, lengths, start)
        )
    frames = _packed(order, lengths, start)
    if len(frames) > 1:  # long texts of several lengths: one frame for more of them, if short ones fill its rows
        frames = min(frames, *(_packed(order, lengths, times * start) for times in FEWER), key=_cost)
    together = Frame(round_up(sum(lengths)), (tuple(order),))
    return (together,) if together.width <= SHARED_WIDTHS[-1] and _cost([together]) < _cost(frames) else frames


_remembered = lru_cache(maxsize=16)(arrange)
"""Of every batch it is asked twice: how much is computed, and how."""


def computed(lengths: Sequence[int], *, packs: bool, start: int = START) -> int:
    """How many tokens a forward of these texts computes, padding included."""
    return sum(frame.tokens for frame in lay_out(lengths, packs=packs, start=start))


def round_up(length: int) -> int:
    """A width that fits: few different ones, since a runtime prepares itself anew for each."""
    step = 4 if length <= SHORT else 8
    return -(-length // step) * step


def _packed(order: Sequence[int], lengths: Sequence[int], start: int) -> tuple[Frame, ...]:
    """Frames of the long texts with short ones in what is left of their rows, and one of the other short texts."""
    split = next((place for place, position in enumerate(order) if lengths[position] <= SHORT), len(order))
    frames, left = _filled(_runs(order[:split], lengths, start), order[split:], lengths)
    return (*frames, _shared(left, lengths)) if left else tuple(frames)


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
        rows = Rows(width)
        for position in run:
            rows.begin(position, lengths[position])
        short = [position for position in short if not rows.fit(position, lengths[position])]
        frames.append(Frame(width, rows.texts()))
    return frames, list(short)


def _shared(short: Sequence[int], lengths: Sequence[int]) -> Frame:
    """The cheapest frame of short texts, longest first: best fit into rows of each width that could do."""
    longest = lengths[short[0]]
    together = round_up(sum(lengths[position] for position in short))
    widths = {round_up(longest), *(width for width in SHARED_WIDTHS if longest <= width < together)}
    frames = []
    for width in sorted(widths):
        rows = Rows(width)
        for position in short:
            if not rows.fit(position, lengths[position]):
                rows.begin(position, lengths[position])
        frames.append(Frame(width, rows.texts()))
    return min(frames, key=lambda frame: _cost([frame]))


def _cost(frames: Iterable[Frame]) -> float:
    return sum(START + frame.tokens * (1 + frame.width / ATTENTION) for frame in frames)
