"""Reading, the model and writing at once: one block is prepared ahead of the model's, and one written behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

Ready = TypeVar("Ready")
Done = TypeVar("Done")


def run_pipeline(
    prepare: Callable[[], Ready | None], encode: Callable[[Ready], Done], write: Callable[[Done], None]
) -> None:
    """Prepare, encode and write one block after another, in order, until there is none.

    At most three blocks are in memory. What a stage raises goes through, once the other two have let go of theirs.

    Args:
        prepare: gives the next block, or None; runs on a thread of its own.
        encode: runs here.
        write: runs on a thread of its own.
    """
    with ThreadPoolExecutor(1, "prepare") as ahead, ThreadPoolExecutor(1, "write") as behind:
        ready = ahead.submit(prepare)
        written: Future[None] | None = None
        while (block := ready.result()) is not None:
            ready = ahead.submit(prepare)
            done = encode(block)
            if written:
                written.result()
            written = behind.submit(write, done)
        if written:
            written.result()
