"""Rows of one width while texts are put into them by best fit. Pure functions of lengths."""

from __future__ import annotations


class Rows:
    """Each text goes where it leaves least room, first row first.

    Args:
        width: tokens of a row.
    """

    def __init__(self, width: int) -> None:
        self._rows: list[list[int]] = []
        self._width = width
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

    def texts(self) -> tuple[tuple[int, ...], ...]:
        """The texts of each row."""
        return tuple(map(tuple, self._rows))

    def _put(self, number: int, room: int, position: int, length: int) -> None:
        self._rows[number].append(position)
        left = room - length
        if left:
            self._by_room[left].append(number)
            self._rooms |= 1 << left
