"""Which texts share a forward, and how they are laid out in its rows. Pure functions of their lengths in tokens.

If a model can read rows with several texts, short texts are packed into rows, so hardly any of it is padding. If not,
each row has one text, and texts of similar length run together. Either way a batch can hold texts of any lengths.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHORT = 64
"""Texts of up to this many tokens share rows; a longer one begins a row, and short ones fill it up."""

SHARED_WIDTHS = (64, 96, 128, 192)
"""Widths of rows that short texts may share. Wider rows waste less at their ends, but attention costs more."""

START = 20
"""The cost of another frame, in tokens: about as much as a forward of one token takes."""

FEWER = (10, 50)
"""Multiples of `START` that are tried as a run's padding, because short texts may replace padding."""

ATTENTION = 1500
"""In rows of this many tokens, attention costs as much as everything else (by operations: 6 × the hidden size)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of one width that are one call of the model.

    Attributes:
        width: tokens of a row.
        rows: the positions of the texts in each row, in their order in the row.
    """

    width: int
    rows: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """The tokens that are computed, padding included."""
        return self.width * len(self.rows)

    @property
    def texts(self) -> list[int]:
        """The positions of all texts, row after row."""
        return [position for row in self.rows for position in row]

    def split(self, parts: int) -> list[Frame]:
        """At most `parts` frames of about equally many rows, in the order of the rows."""
        size = -(-len(self.rows) // parts)
        return [Frame(self.width, self.rows[start : start + size]) for start in range(0, len(self.rows), size)]


def plan(lengths: Sequence[int], budget: int, *, packs: bool) -> Iterator[list[int]]:
    """Split the positions of `lengths` into batches of at most `budget` tokens, padding included.

    The longest come first, so that memory peaks at once and not at the end. A text longer than the budget gets a batch
    of its own. Every position comes exactly once. Takes time n log n for n texts.

    Args:
        lengths: tokens of each text.
        budget: tokens of a batch.
        packs: whether texts may share a row. If so, the whole list is packed into rows, and a batch is some of them;
            else a batch has texts of similar length.
    """
    return _plan_rows(lengths, budget) if packs else _plan_by_length(lengths, budget)


def _plan_rows(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    for frame in arrange(lengths, packs=True):
        rows = max(1, budget // frame.width)
        for part in frame.split(-(-len(frame.rows) // rows)):
            yield part.texts


def _plan_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    batch: list[int] = []
    width = 0
    for position in _longest_first(lengths):
        if batch and width * (len(batch) + 1) > budget:
            yield batch
            batch = []
        if not batch:
            width = lengths[position]
        batch.append(position)
    if batch:
        yield batch


def lay_out(lengths: Sequence[int], *, packs: bool, start: int = START) -> tuple[Frame, ...]:
    """Frames that hold each text exactly once.

    Args:
        lengths: tokens of each text.
        packs: whether texts may share a row.
        start: the cost of another frame, in tokens.
    """
    if len(lengths) == 1:
        return (Frame(round_up(lengths[0]), ((0,),)),)
    return _remembered(tuple(lengths), packs, start)


def computed(lengths: Sequence[int], *, packs: bool, start: int = START) -> int:
    """How many tokens a forward of these texts computes, padding included."""
    return sum(frame.tokens for frame in lay_out(lengths, packs=packs, start=start))


def arrange(lengths: Sequence[int], packs: bool, start: int = START) -> tuple[Frame, ...]:
    """What `lay_out` gives for several texts, without a cache."""
    order = _longest_first(lengths)
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
"""A cache, because each batch is laid out twice: to count what is computed, and to compute it."""


def round_up(length: int) -> int:
    """A row's width for a length: few different widths, because a runtime prepares again for each new one."""
    step = 4 if length <= SHORT else 8
    return -(-length // step) * step


class Rows:
    """Rows of one width that are filled by best fit: each text goes where it leaves the least room.

    Args:
        width: tokens of a row.
    """

    def __init__(self, width: int) -> None:
        self._rows: list[list[int]] = []
        self._width = width
        self._by_room = defaultdict[int, list[int]](list)  # numbers of rows with so much room
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
        """The rows as they are now."""
        return Frame(self._width, tuple(map(tuple, self._rows)))

    def _put(self, number: int, room: int, position: int, length: int) -> None:
        self._rows[number].append(position)
        left = room - length
        if left:
            self._by_room[left].append(number)
            self._rooms |= 1 << left


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)


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
    """Frames of the runs with short texts in what is left of their rows, and the short texts that did not fit.

    If one text does not fit, no other of its length does, so a run tries each length and not each text.
    """
    by_length = defaultdict[int, deque[int]](deque)  # longest first, like `short`
    for position in short:
        by_length[lengths[position]].append(position)
    frames = []
    for width, run in runs:
        rows = Rows(width)
        for position in run:
            rows.begin(position, lengths[position])
        for length, left in by_length.items():
            while left and rows.fit(left[0], length):
                left.popleft()
        frames.append(rows.frame())
    return frames, [position for left in by_length.values() for position in left]


def _shared(short: Sequence[int], lengths: Sequence[int]) -> Frame:
    """The cheapest frame of short texts, longest first: best fit into rows of each possible width."""
    longest = lengths[short[0]]
    together = round_up(sum(lengths[position] for position in short))
    widths = {round_up(longest), *(width for width in SHARED_WIDTHS if longest <= width < together)}
    frames = []
    for width in sorted(widths):
        rows = Rows(width)
        for position in short:
            if not rows.fit(position, lengths[position]):
                rows.begin(position, lengths[position])
        frames.append(rows.frame())
    return min(frames, key=lambda frame: _cost([frame]))


def _cost(frames: Iterable[Frame]) -> float:
    return sum(START + frame.tokens * (1 + frame.width / ATTENTION) for frame in frames)
