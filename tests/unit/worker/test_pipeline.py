"""Three stages at once, in order, with a bound on what waits between them; whatever one raises ends all three."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from munjang_worker.interrupts import Interrupted, Reason
from munjang_worker.shard import run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT = 30


def counting(count: int) -> Callable[[], int | None]:
    """Gives 0, 1, … and then None."""
    numbers = iter(range(count))
    return lambda: next(numbers, None)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_block_goes_through_once_and_in_order(count: int) -> None:
    written: list[int] = []
    run_pipeline(counting(count), lambda number: number * 10, written.append)
    assert written == [number * 10 for number in range(count)]


def test_while_one_block_is_encoded_the_next_is_prepared_and_the_last_is_written() -> None:
    prepared = [threading.Event() for _ in range(4)]
    written = [threading.Event() for _ in range(3)]
    numbers = iter(range(3))

    def prepare() -> int | None:
        number = next(numbers, None)
        prepared[3 if number is None else number].set()
        return number

    def encode(number: int) -> int:
        assert prepared[number + 1].wait(WAIT)
        assert number == 0 or written[number - 1].wait(WAIT)
        return number

    run_pipeline(prepare, encode, lambda number: written[number].set())
    assert all(event.is_set() for event in written)


def test_three_blocks_are_in_memory_while_the_first_is_being_written() -> None:
    made, encoded = [], []
    third = threading.Event()
    numbers = iter(range(9))

    def prepare() -> int | None:
        made.append(number := next(numbers, None))
        if number == 2:
            third.set()
        return number

    def encode(number: int) -> int:
        encoded.append(number)
        return number

    def write(number: int) -> None:
        if number == 0:
            assert third.wait(WAIT)
            assert made == [0, 1, 2]
            assert len(encoded) <= 2

    run_pipeline(prepare, encode, write)
    assert encoded == list(range(9))


@pytest.mark.parametrize("stage", ["prepare", "encode", "write"])
@pytest.mark.parametrize("error", [OSError("voll"), Interrupted(Reason.SHUTDOWN)])
def test_what_a_stage_raises_goes_through_and_ends_the_others(stage: str, error: BaseException) -> None:
    threads = threading.active_count()
    next_number = counting(1000)

    def fail(name: str, number: int) -> None:
        if name == stage and number == 5:
            raise error

    def prepare() -> int | None:
        number = next_number()
        fail("prepare", number if number is not None else -1)
        return number

    def encode(number: int) -> int:
        fail("encode", number)
        return number

    with pytest.raises(type(error)):
        run_pipeline(prepare, encode, lambda number: fail("write", number))
    assert next_number() < 10  # type: ignore[operator] # there are a thousand
    assert threading.active_count() == threads
